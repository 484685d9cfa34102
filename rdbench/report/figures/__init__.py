"""Rate-quality figures, as files and as the numbers behind them."""
