"""Who is asking and what they may do; signing in."""
