"""Loaded checkpoints and the engine that draws for all visitors."""
