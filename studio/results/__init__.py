"""The Results page: projects, items and answers for guests, read-only."""
