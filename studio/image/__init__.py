"""The Image page: a given image judged or edited, or many judged."""
