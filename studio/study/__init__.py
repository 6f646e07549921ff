"""The study of corrections: gain of a checkpoint by number of answers of simulated annotators."""
