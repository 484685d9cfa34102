"""What pytest leaves alone here."""

collect_ignore = ["marks"]  # a `sitecustomize` for commands; the interpreter may have its own
