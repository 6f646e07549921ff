"""Local accounts, passwords and sessions."""
