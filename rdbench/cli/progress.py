"""Shows that a long run lives: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time

from rdbench.engine.progress import Progress
from rdbench.report.text.status import clock

SECONDS_BETWEEN_LINES = 10.0
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
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class LineProgress(Progress):
    """Plain lines, for logs."""

    def __init__(self) -> None:
        self._total = self._done = self._found = 0
        self._point = ""
        self._began = self._said = 0.0

    def start(self, total: int, done: int) -> None:
        self._total, self._done, self._found = total, done, done
        self._began = self._said = time.monotonic()
        found = f", {done} found in the folder" if done else ""
        write_line(f"{total} clip evaluations{found}")

    def at(self, system: str, point: str) -> None:
        self._point = f"{system} {point}"
        if time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._report()

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        finished = self._done == self._total
        if finished or time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._report()

    def say(self, message: str) -> None:
        write_line(message)

    def _report(self) -> None:
        self._said = time.monotonic()
        elapsed = self._said - self._began
        measured = self._done - self._found
        text = f"{self._done}/{self._total} {self._point}"
        if measured >= ENOUGH and elapsed > 0:
            speed = measured / elapsed
            left = clock((self._total - self._done) / speed)
            text += f": {speed:.1f} per second, {left} left"
        write_line(text)


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
    """A bar with system, point, evaluations per second and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("[progress.description]{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("planning", total=None, speed="")
        self._measured = 0
        self._began = 0.0

    def start(self, total: int, done: int) -> None:
        self._began = time.monotonic()
        self._bar.update(self._task, total=total, completed=done)
        self._bar.start()

    def at(self, system: str, point: str) -> None:
        self._bar.update(self._task, description=f"{system} {point}")

    def advance(self, steps: int = 1) -> None:
        self._measured += steps
        elapsed = max(time.monotonic() - self._began, 1e-9)
        self._bar.update(
            self._task, advance=steps, speed=f"{self._measured / elapsed:.1f} per second"
        )

    def say(self, message: str) -> None:
        self._bar.console.print(message, markup=False, highlight=False)

    def stop(self) -> None:
        self._bar.stop()
