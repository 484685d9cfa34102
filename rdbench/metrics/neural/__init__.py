"""Metrics that are trained models: their packages, or a model file, carry the weights."""
