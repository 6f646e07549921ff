"""Side by side: two drawings of one prompt."""
