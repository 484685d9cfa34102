"""The benchmark spec and the protocol, validated: `model` has the types, `load` reads a file."""
