"""A backend on many machines: replicas on Ray Serve, and the backend that asks them."""
