"""Shared drawings: link previews, cards, animations."""
