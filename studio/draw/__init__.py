"""The Draw page: a prompt, and its trajectory as it happens."""
