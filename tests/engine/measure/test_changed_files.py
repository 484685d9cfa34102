"""Results of code that is not rdbench's own count only while its files are as they were planned."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rdbench.engine.executors.pool import AtOnce
from rdbench.engine.measure.desk import Desk
from rdbench.engine.measure.measure import measure
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.shard import Setup, Shard
from rdbench.engine.measure.work import Result, SetWork
from rdbench.engine.measure.workshop import Workshop
from rdbench.identity import file_sha256
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score, Status

MODEL, OTHER = Quantity(Kind.METRIC, "by_model"), Quantity(Kind.METRIC, "other")
STEP = ("system", "point", "codes")


@dataclass(frozen=True, eq=False)
class ByModel(Pass):
    """A metric that opens its model file when it likes, beside one that has none."""

    path: Path
    sha256: str
    name = "by model"

    def owns(self, quantity: Quantity) -> bool:
        return quantity in (MODEL, OTHER)

    def files(self) -> Mapping[str, Mapping[Path, str]]:
        return {MODEL.key: {self.path: self.sha256}}

    def on_set(self, work: SetWork, step: Any, desk: Desk) -> Iterable[Result]:
        for quantity in work.quantities:
            score = Score(float(len(self.path.read_bytes())))
            yield Result(STEP, "", work.domain, quantity, score, 0.0, attachment="array")


@pytest.mark.parametrize(
    "moment", ["never", "before it is set up", "while it works", "there and back"]
)
def test_a_model_that_is_overwritten_costs_its_own_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    os.utime(path, ns=(0, 0))
    one = ByModel(path, file_sha256(path))
    if moment == "before it is set up":
        path.write_bytes(b"newer")
    setup = Setup(
        systems=(), passes=(one,), protocols={}, threads=1, timeout=2.0, batch_seconds=0.0
    )
    workshop = Workshop(setup.packed())
    step = SimpleNamespace(system=SimpleNamespace(name="system"), point=SimpleNamespace(name="p"))
    monkeypatch.setattr(workshop, "step", lambda _: step)
    if moment in ("while it works", "there and back"):
        path.write_bytes(b"newer")
    if moment == "there and back":
        path.write_bytes(b"old")
    results: list[Result] = []
    sink: Any = SimpleNamespace(deliver=results.extend, at=lambda *_: None)
    work = SetWork(4, "by model", STEP, "audio", (), (MODEL, OTHER))
    measure(Shard(sets=(work,)), workshop, AtOnce(), sink)
    found = {result.quantity: result for result in results}
    assert found[OTHER].score.status is Status.OK
    assert found[OTHER].attachment == "array"
    assert (found[MODEL].score.status is Status.OK) is (moment == "never")
    if moment != "never":
        assert found[MODEL].score.reason.startswith(f"{path} was changed while the run went on")
        assert found[MODEL].attachment is None
        assert found[MODEL].set_number == 4
