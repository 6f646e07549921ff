"""Tables as values: trajectories, items, leases, annotations, imports; `store.Store` is the entry."""
