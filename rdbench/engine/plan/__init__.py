"""What is to be done: systems, clips, metrics, and the one plan of all units."""
