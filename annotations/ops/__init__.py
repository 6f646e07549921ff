"""Backups, repair, webhooks, scheduled work, measurements."""
