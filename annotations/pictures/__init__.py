"""Storage of PNG files: a folder, or an object store that several studios share."""
