"""Training of the embedded network from scratch: sizes, codec, pretraining, corrections, painter."""
