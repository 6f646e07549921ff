"""Networks and checkpoints: the Janus model, opening, checking and converting its folders."""
