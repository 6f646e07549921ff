"""Transactions that read and write values: trajectories, items, leases, annotations, imports; `store.Store` is the
entry.
"""
