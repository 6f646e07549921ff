"""ASGI middleware: hosts, origins, limits, headers, caching."""
