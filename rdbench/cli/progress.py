"""Shows that a long run lives: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.engine.progress import Progress
from rdbench.report.text.status import clock
from rdbench.text import printable

if TYPE_CHECKING:
    from rich.table import Table

SECONDS_BETWEEN_LINES = 10.0
BAR_COLUMNS, ROOM_FOR_A_BAR = 40, 60
"""The longest bar, and the narrowest terminal that has one."""
FEWEST_COLUMNS = 8
"""Below which where the work is cannot be told."""
ENOUGH = 20
"""Steps done before a time left is told: the first ones wait for models and processes."""


def set_up_logging(*, verbose: int, quiet: bool) -> None:
    """Library messages go to stderr: warnings by default, more with -v, errors alone with -q."""
    level = logging.ERROR if quiet else max(logging.DEBUG, logging.WARNING - 10 * verbose)
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
    # Third parties stay quiet unless asked twice: their warnings are no news to a user.
    for name in ("matplotlib", "numba", "libav", "visqol", "fontTools"):
        logging.getLogger(name).setLevel(logging.ERROR if verbose < 2 else level)


def make_progress(*, quiet: bool) -> Progress:
    """The progress that fits where stderr goes."""
    if quiet:
        return Progress()
    moves = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
    return BarProgress() if moves else LineProgress()


class _Pace:
    """How much is done, how fast, and what is left. total, done: steps."""

    def __init__(self) -> None:
        self.total = self.done = self._found = 0
        self._began = time.monotonic()

    def start(self, total: int, done: int) -> None:
        self.total, self.done, self._found = total, done, done
        self._began = time.monotonic()

    def facts(self) -> list[str]:
        """The count; when enough is done to tell, also the time left and the speed."""
        count = f"{self.done}/{self.total}"
        measured, elapsed = self.done - self._found, time.monotonic() - self._began
        if measured < ENOUGH or elapsed <= 0:
            return [count]
        speed = measured / elapsed
        left = clock((self.total - self.done) / speed)
        return [count, f"{left} left", f"{speed:.1f} per second"]


class LineProgress(Progress):
    """Plain lines, for logs."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._point = ""
        self._said = 0.0

    def start(self, total: int, done: int) -> None:
        self._pace.start(total, done)
        self._said = time.monotonic()
        found = f", {done} found in the folder" if done else ""
        write_line(f"{total} clip evaluations{found}")

    def at(self, system: str, point: str) -> None:
        self._told(f"{system} {point}")

    def at_work(self, workers: int, shards: int, failed: int) -> None:
        self._told(_at_work(workers, shards, failed))

    def _told(self, point: str) -> None:
        self._point = point
        if time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._report()

    def advance(self, steps: int = 1) -> None:
        self._pace.done += steps
        finished = self._pace.done == self._pace.total
        if finished or time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._report()

    def say(self, message: str) -> None:
        write_line(printable(message))

    def _report(self) -> None:
        self._said = time.monotonic()
        count, *more = self._pace.facts()
        write_line(f"{count} {self._point}" + (f": {', '.join(more)}" if more else ""))


def write_line(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"rdbench: {text}\n")
    sys.stderr.flush()


class Patience:
    """A line now and then while something goes on of which nothing can be counted.

    Use it as a context manager; `at` says what goes on. The first line comes after
    `SECONDS_BETWEEN_LINES`, so that what is quick says nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._doing = ""
        self._ended = threading.Event()
        self._speaker = threading.Thread(target=self._speak, daemon=True)

    def at(self, doing: str) -> None:
        """What is begun now."""
        self._doing = doing

    def __enter__(self) -> Patience:
        if not self._quiet:
            self._speaker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if not self._quiet:
            self._speaker.join()

    def _speak(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(SECONDS_BETWEEN_LINES):
            write_line(f"{self._doing} ({time.monotonic() - began:.0f} s so far)")


class BarProgress(Progress):
    """One line of a terminal: a bar, the count, the time left, the speed, and where the work is.

    A narrow terminal has no bar, and of the others the first that fit.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._pace = _Pace()
        self._where = ""
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, get_renderable=self._shown)

    def start(self, total: int, done: int) -> None:
        self._pace.start(total, done)
        self._live.start()

    def at(self, system: str, point: str) -> None:
        self._where = f"{system} {point}"

    def at_work(self, workers: int, shards: int, failed: int) -> None:
        self._where = _at_work(workers, shards, failed)

    def advance(self, steps: int = 1) -> None:
        self._pace.done += steps

    def say(self, message: str) -> None:
        self._console.print(printable(message), markup=False, highlight=False)

    def stop(self) -> None:
        self._live.stop()

    def _shown(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self._console.width
        bar = min(BAR_COLUMNS, width // 5) if width >= ROOM_FOR_A_BAR else 0
        said = fitted(self._pace.facts(), self._where, width - bar - (bar > 0))
        line = Table.grid(padding=(0, 1, 0, 0))
        total = max(self._pace.total, 1)
        done = self._pace.done if self._pace.total else total
        cells = [ProgressBar(total=total, completed=done, width=bar)] if bar else []
        line.add_row(*cells, Text(said, no_wrap=True, overflow="crop"))
        return line


def _at_work(workers: int, shards: int, failed: int) -> str:
    """Who works on what, on a cluster."""
    said = f"{workers} worker{'s' * (workers != 1)}, {shards} shard{'s' * (shards != 1)} in hand"
    return f"{said}, {failed} rows failed" if failed else said


def fitted(facts: Sequence[str], where: str, width: int) -> str:
    """As many of `facts` as `width` columns have room for, the first in any case, then `where`.

    >>> fitted(["8/90", "0:09:10 left", "0.1 per second"], "opus 12 kbps", 24)
    '8/90, 0:09:10 left'
    >>> fitted(["8/90", "0:09:10 left", "0.1 per second"], "opus 12 kbps", 28)
    '8/90, 0:09:10 left  opus 12…'
    """
    from rich.text import Text

    said = facts[0]
    for fact in facts[1:]:
        if len(said) + len(fact) + 2 > width:
            break
        said += f", {fact}"
    room = width - len(said) - 2
    if room < FEWEST_COLUMNS:
        return said
    shown = Text(where)
    shown.truncate(room, overflow="ellipsis")
    return f"{said}  {shown.plain}".rstrip()
