"""The forms of answers: one class per form, one file each."""
