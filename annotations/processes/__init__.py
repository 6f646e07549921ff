"""Communication among studios that share a PostgreSQL database: messages, drawings under way; periodic work."""
