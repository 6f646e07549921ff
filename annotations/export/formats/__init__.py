"""Export kinds in layouts that others publish, one file each."""
