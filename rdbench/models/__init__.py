"""Architectures and bottlenecks behind our own checkpoints, and their file format."""
