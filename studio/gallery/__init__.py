"""Gallery: stored trajectories."""
