"""The embedded world: sprites, scenes, prompts, plans, verifier."""
