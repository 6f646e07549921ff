"""Checkpoints on disk and on the Hub: opened, checked, saved; DeepSeek's layout."""
