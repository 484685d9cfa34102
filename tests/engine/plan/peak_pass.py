"""Families of quantities that rdbench does not know: all that they take is this module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdbench.engine.measure.decoded import Decoded
from rdbench.engine.measure.desk import Desk
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork, Work
from rdbench.engine.plan.clips import PlannedClip
from rdbench.engine.plan.families import Columns, SetUnits
from rdbench.engine.plan.systems import Step
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score

PEAK = Quantity(Kind.METRIC, "peak")
HIGHEST = Quantity(Kind.METRIC, "highest_peak")
SAMPLES = Quantity(Kind.FEATURE, "samples")
_ARRAY = Quantity(Kind.FEATURE, "peaks")


@dataclass(frozen=True, eq=False)
class PeakPass(Pass):
    """The peak of each reconstruction, and the highest one of a domain."""

    name = "peaks"

    def owns(self, quantity: Quantity) -> bool:
        return quantity in (PEAK, HIGHEST, _ARRAY)

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        return [PEAK]

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        domains = dict.fromkeys(clip.domain for clip in clips)
        return [
            SetUnits(step, d, tuple(c for c in clips if c.domain == d), (HIGHEST,), _ARRAY)
            for d in domains
        ]

    def columns(self, quantity: Quantity) -> Columns:
        return Columns("1", "numpy")

    def on_decoded(self, work: Work, decoded: Decoded, desk: Desk) -> None:
        for position, samples in enumerate(decoded.audio.samples.cpu().numpy()):
            peak = float(np.abs(samples).max())
            work.record(position, PEAK, Score(peak))
            work.record(position, _ARRAY, Score(1.0), np.array([peak]))

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterable[Result]:
        score: Any = Score.failed("; ".join(work.failures.values()))
        if not work.failures:
            score = Score(float(max(array.max() for array in work.arrays.values())))
        return [Result(step.id, "", work.domain, HIGHEST, score, 0.0)]


@dataclass(frozen=True, eq=False)
class ArrayPass(Pass):
    """The first samples of each reconstruction, in a type of numbers that few know."""

    dtype: str
    name = "arrays"

    def owns(self, quantity: Quantity) -> bool:
        return quantity == SAMPLES

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        return [SAMPLES]

    def on_decoded(self, work: Work, decoded: Decoded, desk: Desk) -> None:
        for position, samples in enumerate(decoded.audio.samples.cpu().numpy()):
            work.record(position, SAMPLES, Score(1.0), samples[0, :8].astype(self.dtype))
