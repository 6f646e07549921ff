"""Records made elsewhere: `python -m annotations.importing`, a module per format."""
