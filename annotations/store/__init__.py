"""Tables as values: trajectories, items, annotations, imports, pictures; `store.Store` is the entry."""
