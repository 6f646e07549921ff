"""One training loop, and the methods on it: supervised fine-tuning, GRPO."""
