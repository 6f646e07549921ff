"""Tables, engines and migrations: SQLite and PostgreSQL."""
