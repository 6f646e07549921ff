"""The Datasets page: new and earlier exports."""
