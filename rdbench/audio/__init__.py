"""Clips, corpora, loading, resampling, channels and alignment."""
