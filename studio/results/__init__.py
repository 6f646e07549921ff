"""Results: projects, their items and what people answered, for guests: nothing can be changed."""
