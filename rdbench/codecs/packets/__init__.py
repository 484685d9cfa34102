"""Ordinary codecs, whose packets are counted."""
