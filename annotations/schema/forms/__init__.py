"""Question forms: one class per form, one file each."""
