"""Tables, engines, locks and migrations: SQLite and PostgreSQL."""
