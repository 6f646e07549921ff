"""Throughput of training: supervised fine-tuning, DPO and rollouts against plain loops over transformers' own Janus."""
