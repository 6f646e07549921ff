"""Measurements of checkpoints: figures, probes, settings sweeps, plots."""
