"""Load tests over real HTTP."""
