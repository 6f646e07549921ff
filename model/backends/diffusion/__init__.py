"""The backend of diffusers pipelines, each with a critic that judges its images."""
