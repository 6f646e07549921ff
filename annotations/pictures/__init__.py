"""Where PNG files are kept: a folder, or an object store that several studios share."""
