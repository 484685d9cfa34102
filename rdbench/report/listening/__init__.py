"""Listening tests made from the audio that a run has kept."""
