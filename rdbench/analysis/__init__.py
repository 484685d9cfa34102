"""Aggregates with intervals, computed from stored rows."""
