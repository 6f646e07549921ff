"""Labels from what several people said."""
