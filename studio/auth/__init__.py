"""Authentication and roles: identity of a request, pages shown by role, signing in."""
