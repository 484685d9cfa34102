"""Metrics that model a listener."""
