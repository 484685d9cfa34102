"""Architectures and bottlenecks behind our own checkpoints."""
