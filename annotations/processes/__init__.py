"""What several studios with one PostgreSQL database tell each other: locks, messages, drawings under way."""
