"""Preference learning: losses, rows, the reference's log-probabilities."""
