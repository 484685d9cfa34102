"""Whose time it is, while a codec is timed.

One call of an adapter does more than the codec would: it resamples what a decoder gives at one rate
only, reads its models anew, makes the stream that it then decodes. Whoever knows says so where it
happens,

    with charged_to(Side.ENCODER): …

and a `Stopwatch` that runs in this thread charges the time inside to that side, whatever it was
charging before; what is charged to `NOBODY` counts for neither. Where nothing is timed, it does
nothing. A side belongs to the work, not to the variant or codec that asks for it, so that what is
made on the way to a decoder's input is charged alike for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum


class Side(StrEnum):
    """Who pays for a piece of work."""

    ENCODER = "encoder"
    DECODER = "decoder"
    NOBODY = "nobody"


class Stopwatch:
    """Charges the time that passes to one side or another.

    seconds: so far, by side. synchronize: called before the clock is read, so that work which was
    handed to a device is done. clock: seconds since any moment.
    """

    def __init__(
        self,
        synchronize: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.seconds = dict.fromkeys(Side, 0.0)
        self._synchronize = synchronize
        self._clock = clock
        self._side = Side.NOBODY
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs while the block does; what is charged to no side is charged to `NOBODY`."""
        self._synchronize()
        self._since = self._clock()
        token = _RUNNING.set(self)
        try:
            yield
        finally:
            _RUNNING.reset(token)
            self._switch(Side.NOBODY)

    @contextmanager
    def charging(self, side: Side) -> Iterator[None]:
        """Charges the block to `side`, and what follows to whom it was before."""
        before = self._switch(side)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, side: Side) -> Side:
        self._synchronize()
        now = self._clock()
        before, self._side = self._side, side
        self.seconds[before] += now - self._since
        self._since = now
        return before


_RUNNING: ContextVar[Stopwatch | None] = ContextVar("the stopwatch of this thread", default=None)


@contextmanager
def charged_to(side: Side) -> Iterator[None]:
    """Charges the block to `side`, where a stopwatch runs."""
    watch = _RUNNING.get()
    if watch is None:
        yield
    else:
        with watch.charging(side):
            yield
