"""Plan, batching and execution of a benchmark."""
