"""Draw: a prompt, and its trajectory as it happens."""
