"""One module per format of imported records."""
