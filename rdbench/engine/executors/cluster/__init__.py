"""Where shards are measured: workers of a Dask cluster."""
