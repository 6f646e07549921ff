"""Training of diffusers pipelines: the denoiser's inputs and targets, and Diffusion-DPO."""
