"""Training in stages: what a stage trains on beside its crops, and when the next may begin."""
