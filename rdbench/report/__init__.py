"""Figures and tables made from aggregates."""
