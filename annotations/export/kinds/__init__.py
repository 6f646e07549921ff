"""Kinds of rows for training here and in TRL, a file each."""
