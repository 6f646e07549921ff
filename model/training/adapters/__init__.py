"""Adapters: LoRA and DoRA layers by peft; a few examples learnt in a minute."""
