"""Moderation: reported drawings, hiding many at once, words that are not drawn."""
