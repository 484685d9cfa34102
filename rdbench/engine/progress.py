"""How a run tells that it lives: an interface for the command line, silent by default."""

from __future__ import annotations


class Progress:
    """Receives what a run reports; the default says nothing.

    A step is one clip at one point and variant of one system, with all its quantities.
    """

    def start(self, total: int, done: int) -> None:
        """`total` steps are asked for; `done` of them were found in the store."""

    def at(self, system: str, point: str) -> None:
        """The engine now works on this system and point."""

    def at_work(self, workers: int, shards: int, failed: int) -> None:
        """So many workers of a cluster have so many shards in hand; so many rows have failed."""

    def advance(self, steps: int = 1) -> None:
        """Some steps were finished."""

    def say(self, message: str) -> None:
        """Something worth one line (a retry, a smaller batch)."""

    def stop(self) -> None:
        """The run has ended, well or not."""
