"""Metrics of a set of clips."""
