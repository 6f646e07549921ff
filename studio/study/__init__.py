"""A study of corrections: what a checkpoint learns from so many answers of simulated annotators."""
