"""Recipes that train checkpoints to a target rate; free of metric packages and PyAV."""
