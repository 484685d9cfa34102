"""`rdbench` and `python -m rdbench`: what stands before anything that takes time is imported."""

from __future__ import annotations

from rdbench import interrupts, streams


def main() -> None:
    """The command line."""
    streams.hold()
    interrupts.install()
    from rdbench.cli.main import entry

    entry()


if __name__ == "__main__":
    main()
