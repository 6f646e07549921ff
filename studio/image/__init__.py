"""Your image: judged, edited, many at once."""
