"""The probe: one small flow-matching generator of latents, the same for every checkpoint."""
