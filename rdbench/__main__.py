"""`python -m rdbench`: the command line."""

from rdbench.cli.main import entry

if __name__ == "__main__":
    entry()
