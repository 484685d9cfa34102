"""Trains probe generators on the latents of a checkpoint."""
