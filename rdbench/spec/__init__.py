"""The benchmark spec and the protocol, validated."""
