"""Rate-quality curves: which points make one, and BD-rates and readings between two."""
