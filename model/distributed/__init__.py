"""One list of work in several processes: each its share; what is done is kept in files, and resumed after a kill."""
