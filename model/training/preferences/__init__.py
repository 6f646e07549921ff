"""Learning from what people prefer: losses, rows, the reference's log-probabilities."""
