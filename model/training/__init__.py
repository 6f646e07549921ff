"""One training loop, and the methods on it: supervised fine-tuning, DPO, KTO, a reward model, GRPO."""
