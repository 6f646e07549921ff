"""Moderation: words that are not drawn, drawings that people report."""
