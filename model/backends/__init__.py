"""Backends: the contract, Janus, diffusers pipelines, critics; checkpoints opened, checked and converted."""
