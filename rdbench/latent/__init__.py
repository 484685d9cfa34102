"""What a generator needs to know of a continuous latent."""
