"""Annotate: one item after another."""
