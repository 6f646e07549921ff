"""Command line, paths, state and log of a training run."""
