"""Training: runs as processes of their own, their curves, what they learnt from."""
