"""The Arena page: blind comparison of pairs."""
