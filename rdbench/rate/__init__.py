"""What a bit is: every kind of rate, computed from an `Encoded`."""
