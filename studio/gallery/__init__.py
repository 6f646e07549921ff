"""The Gallery page: stored trajectories."""
