"""Scores that people gave, and the listening tests that they came from."""
