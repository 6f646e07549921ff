"""Diffusers pipelines that paint, with a critic that judges what they painted."""
