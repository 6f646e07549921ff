"""Agreement, Bradley–Terry scores, quality of answers."""
