"""Work for processes that tells what it costs them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rdbench.engine.measure.desk import Desk
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork
from rdbench.engine.plan.systems import Step
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score

SIZE = Quantity(Kind.METRIC, "size")


def descriptors(array: npt.NDArray[np.float32]) -> tuple[int, int, npt.NDArray[np.float32]]:
    """The process and how many descriptors it has open; gives back what it was given."""
    return os.getpid(), len(list(Path("/proc/self/fd").iterdir())), array + 1


@dataclass(frozen=True, eq=False)
class SizePass(Pass):
    """The size of the arrays of a set, and on which device that was found out."""

    name = "sizes"

    def owns(self, quantity: Quantity) -> bool:
        return quantity == SIZE

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterable[Result]:
        size = sum(array.nbytes for array in work.arrays.values())
        score = Score(float(size), reason=desk.device)
        yield Result(work.step, "", work.domain, SIZE, score, 0.0)


def waits(seconds: float) -> str:
    """Takes some time."""
    time.sleep(seconds)
    return "waited"


def ends_well() -> None:
    """Ends its process as if all were done."""
    os._exit(0)
