"""The web application: pages, endpoints for programs, middleware."""
