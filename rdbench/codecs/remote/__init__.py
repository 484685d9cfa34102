"""Codecs that run in another Python environment, in a worker process that is spoken with."""
