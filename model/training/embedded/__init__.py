"""Training of the embedded network from scratch: sizes, codec, pretraining, lessons, painter."""
