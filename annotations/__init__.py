"""Annotation backend: store, queue, metrics, imports, exports."""
