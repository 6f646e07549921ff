"""Projects: list, one project, what comes into it."""
