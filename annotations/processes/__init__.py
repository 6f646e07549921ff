"""What several studios with one PostgreSQL database tell each other: messages, drawings under way; periodic work."""
