"""Rewards by name, the formulae of Janus-Pro-R1, the reward model's network."""
