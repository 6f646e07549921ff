"""Lists of work shared by several processes; progress is kept in files and resumed after a kill."""
