"""The Review page: disagreements and decisions."""
