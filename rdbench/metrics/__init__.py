"""Metric definitions, their backends, and the registry of their keys."""
