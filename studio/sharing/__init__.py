"""Sharing: the link of a drawing as previews show it, its card, its animation."""
