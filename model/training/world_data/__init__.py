"""Training data of the embedded world: mixes of tasks, sequences, prompts, drafts."""
