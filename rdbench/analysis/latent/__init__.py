"""What a run says of its continuous latents: prior ladder, channels, decode paths, generation."""
