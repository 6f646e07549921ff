"""The Training page: runs as processes of their own, their curves, their provenance."""
