"""Teach it: one person's corrections learnt in a minute, for that person's session."""
