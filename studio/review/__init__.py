"""Review: disagreements and decisions."""
