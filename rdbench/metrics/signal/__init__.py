"""Metrics of the signal and its spectrum."""
