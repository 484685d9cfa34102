"""Recipes that train checkpoints to a target rate."""
