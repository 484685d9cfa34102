"""Weights as data, for codecs, metrics and models: strict reading, formats, hashes, downloads."""
