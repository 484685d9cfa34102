"""Statistics of scores in groups of clips: resampling and intervals."""
