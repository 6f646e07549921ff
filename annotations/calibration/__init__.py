"""Critics against people: stored scores, what people say of the same pictures, the calibration report."""
