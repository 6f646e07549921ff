"""The Compare page: two drawings of one prompt side by side."""
