"""What a process is given of time for a shard."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rdbench.engine.executors.pool import AtOnce
from rdbench.engine.measure.desk import Desk
from rdbench.engine.measure.measure import measure
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.shard import Setup, Shard
from rdbench.engine.measure.work import Result, SetWork
from rdbench.engine.measure.workshop import Workshop
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score

SUM = Quantity(Kind.METRIC, "sum")
STEP = ("system", "point", "codes")


class Sums(Pass):
    """The sum over all clips of a set."""

    name = "sums"

    def owns(self, quantity: Quantity) -> bool:
        return quantity == SUM

    def on_set(self, work: SetWork, step: Any, desk: Desk) -> Iterable[Result]:
        total = Score(float(sum(array.sum() for array in work.arrays.values())))
        return [Result(STEP, "", work.domain, SUM, total, 0.0)]


@pytest.mark.parametrize(("clips", "term"), [(3, 6.0), (0, 2.0)])
def test_a_set_may_take_as_long_as_its_clips_may(
    monkeypatch: pytest.MonkeyPatch, clips: int, term: float
) -> None:
    setup = Setup(
        systems=(), passes=(Sums(),), protocols={}, threads=1, timeout=2.0,
        batch_seconds=0.0,
    )  # fmt: skip
    terms: list[float] = []
    workshop = Workshop(setup.packed(), rest=terms.append)
    step = SimpleNamespace(system=SimpleNamespace(name="system"), point=SimpleNamespace(name="p"))
    monkeypatch.setattr(workshop, "step", lambda _: step)
    results: list[Result] = []
    sink: Any = SimpleNamespace(deliver=results.extend, at=lambda *_: None)
    arrays = {f"{index}.wav": np.ones(2) for index in range(clips)}
    work = SetWork(4, "sums", STEP, "audio", (), (SUM,), arrays)
    measure(Shard(sets=(work,)), workshop, AtOnce(), sink)
    assert [(one.set_number, one.score.value) for one in results] == [(4, 2.0 * clips)]
    assert terms[-1] == term
    workshop.beat()
    assert terms[-1] == 2.0  # what comes next is one clip again
