"""Files of an export: parts while it is written, shards by layout, the dataset card."""
