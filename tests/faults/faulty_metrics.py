"""Metrics with one fault each, known to every process that finds `hooks` on its path."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import (
    BackendFactory,
    DeviceBackend,
    Direction,
    MetricDefinition,
    PoolBackend,
)
from rdbench.types import AudioBatch, Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def _raise() -> float:
    raise ArithmeticError("no such logarithm")


def _hang() -> float:
    time.sleep(600)
    return 0.0


def _segfault() -> float:
    return float(len(ctypes.string_at(0)))


FAULTS: dict[str, Callable[[], float]] = {
    "fault_raises": _raise,
    "fault_hangs": _hang,
    "fault_segfaults": _segfault,
    "fault_nan": lambda: math.nan,
}
IN_POOL = ("fault_segfaults",)

DEFINITIONS = tuple(
    MetricDefinition(
        key=key, version=1, name=key, unit="", direction=Direction.HIGHER, lower=-math.inf,
        upper=math.inf, identity=math.nan, domains=(), sample_rate=None, minimum_seconds=0.0,
        needs_alignment=False, definition="fails",
    )
    for key in FAULTS
)  # fmt: skip


@dataclass(frozen=True)
class _OnDevice(DeviceBackend):
    key: str
    name = "torch"
    version = "1"
    tolerance = 0.0

    def prepare(self, reference: AudioBatch) -> Any:
        return reference

    def score(self, prepared: Any, *, reconstruction: AudioBatch) -> list[Score]:
        return [Score(FAULTS[self.key]()) for _ in range(reconstruction.clips)]


@dataclass(frozen=True)
class _InPool(PoolBackend):
    key: str
    name = "reference"
    version = "1"
    tolerance = 0.0

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        return Score(FAULTS[self.key]())


def backends(key: str) -> dict[str, BackendFactory]:
    kind: Any = _InPool if key in IN_POOL else _OnDevice
    return {kind.name: lambda: kind(key)}
