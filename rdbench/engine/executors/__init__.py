"""Where shards are measured: processes of this machine, on its cores and its devices."""
