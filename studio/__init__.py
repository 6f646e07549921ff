"""The web application: pages, endpoints for programs, and what stands before them."""
