"""Weights as data: strict reading, formats, hashes and downloads."""
