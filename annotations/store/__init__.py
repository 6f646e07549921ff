"""Values in, values out: one public method, one transaction."""
