"""The Annotate page: one item after another, on a form or a sheet."""
