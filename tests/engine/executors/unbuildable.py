"""Codecs that can be built where a run is planned and not where it is measured."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence

from fakes import Quantizer


class Raises(Quantizer):
    """Raises in every other process."""

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        if multiprocessing.parent_process():
            raise RuntimeError("the licence server is away")
        super().__init__(points=points)


class Hangs(Quantizer):
    """Is not built before the process has no time left."""

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        if multiprocessing.parent_process():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            time.sleep(60)
        super().__init__(points=points)
