"""Kinds of rows in layouts that others publish, a file each."""
