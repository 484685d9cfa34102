"""The results folder: schema, writing, reading, resume."""
