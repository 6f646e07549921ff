"""Arena: blind comparison of pairs."""
