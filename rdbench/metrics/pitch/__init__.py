"""Metrics of the voice: pitch, voicing, and the envelope that both are told apart from."""
