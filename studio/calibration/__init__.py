"""The Calibration page and its command: agreement of critics with people."""
