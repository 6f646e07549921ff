"""Calibration of critics against people: stored scores, people's verdicts on the same pictures, the report."""
