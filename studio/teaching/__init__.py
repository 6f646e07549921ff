"""Teach it: a person's corrections learnt in a minute, for that person's session."""
