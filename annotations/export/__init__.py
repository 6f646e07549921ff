"""Training data from annotations: `python -m annotations.export`."""
