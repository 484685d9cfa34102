"""Codecs behind one interface, and the registry of their names."""
