"""Codecs that are programs: how they are called, watched, and what of their files is counted."""
