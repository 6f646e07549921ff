"""Training of diffusers pipelines: what their denoisers are given, and Diffusion-DPO."""
