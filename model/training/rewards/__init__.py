"""Rewards by name, and the formulae of Janus-Pro-R1."""
