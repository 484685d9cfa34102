"""The report on continuous latents: `latent.md`, its numbers as CSV, its figures."""
