"""Safeguards against forgetting and reward hacking: self-distillation, fixed evaluation prompts, a held-out reward."""
