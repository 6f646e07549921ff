"""Training of the embedded network from scratch: sizes, codec, pretraining, sequences of the world."""
