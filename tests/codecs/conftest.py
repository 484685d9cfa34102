"""Puts this folder on the path: tests of single families share `seeded_checkpoints`."""
