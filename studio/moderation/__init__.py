"""The Moderation page: reported drawings, hiding of many at once, blocked words."""
