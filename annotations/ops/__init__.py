"""Backups, repair, webhooks, measurements."""
