"""Against forgetting and reward hacking: self-distillation, evaluation on fixed prompts, a held-out reward."""
