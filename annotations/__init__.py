"""What models drew and people said of it: store, queue, metrics, imports, exports."""
