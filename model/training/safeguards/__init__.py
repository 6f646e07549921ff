"""Against unlearning unseen: the pull to the checkpoint, evaluation on fixed prompts, alarms."""
