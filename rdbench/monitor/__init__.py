"""A model while it trains: evaluations by step, where they are logged, and the curve over steps."""
