"""The timeline of a trajectory: live, replayed, edited in place."""
