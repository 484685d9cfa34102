"""Continuous latents: variational autoencoders on the KL axis."""
