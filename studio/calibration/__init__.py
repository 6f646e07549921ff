"""Calibration: how far critics agree with people, as a page and as a command."""
