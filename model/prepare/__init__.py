"""Training data from prompts: images of painters, a critic's score and reason of each, rows of the three tasks."""
