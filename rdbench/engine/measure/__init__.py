"""One shard, measured: the same in every process and on every machine."""
