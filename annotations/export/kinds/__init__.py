"""Export kinds for training here and in TRL, one file each."""
