"""Runs of one protocol that were made apart, as one: which manifest, which rows, and where."""
