"""What a run tells of itself while it trains: its log, gradients, drift, and examples to hear."""
