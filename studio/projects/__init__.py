"""The Projects pages: the list, one project, its items and questions."""
