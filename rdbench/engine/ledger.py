"""Turns results into rows, and knows which units are still missing.

The ledger is the only part of the engine that writes: it makes a unit's key, skips what the store
has, counts the steps that are finished, and never drops a result without a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rdbench.engine.plan import RESIDUAL_DELAY, Metric, Step, UnitKeys, quantities
from rdbench.rate.measure import KL_PRIOR
from rdbench.store.schema import Kind, Row
from rdbench.types import Rate, RateKind, Score, Status, Variant

if TYPE_CHECKING:
    from rdbench.engine.plan import PlannedClip
    from rdbench.engine.progress import Progress
    from rdbench.store.writer import RunWriter

MILLISECONDS = "ms"
RATES = f"{Kind.RATE}/"


# Kinds that one payload has beside its headline, and the models under which bits are counted.
_TOGETHER = {RateKind.PAYLOAD: (RateKind.PAYLOAD, RateKind.CONTAINER)}
_MODELS = {RateKind.KL: KL_PRIOR}

StepId = tuple[str, str, Variant, str]


class Ledger:
    """Rows of one run.

    metrics: by domain. done: keys of the units that the store has.
    """

    def __init__(
        self,
        writer: RunWriter,
        keys: UnitKeys,
        metrics: Mapping[str, Sequence[Metric]],
        done: set[str],
        progress: Progress,
    ) -> None:
        self._writer = writer
        self._keys = keys
        self._metrics = metrics
        self._done = done
        self._progress = progress
        self._open: dict[StepId, set[str]] = {}
        self.failed = 0
        self.written = 0

    def missing(self, step: Step, clip: PlannedClip) -> set[str]:
        """The quantities of one step that the store has not."""
        wanted = quantities(step, self._metrics[clip.clip.domain])
        return {what for what in wanted if self._keys.key(step, clip, what) not in self._done}

    def open_step(self, step: Step, clip: PlannedClip) -> bool:
        """Notes what is missing of a step; False where nothing is."""
        missing = self.missing(step, clip)
        if missing:
            self._open[_id(step, clip)] = missing
        return bool(missing)

    def wants(
        self,
        step: Step,
        clip: PlannedClip,
        what: str | None = None,
    ) -> bool:
        """Whether a step (or one quantity of it) is still open."""
        missing = self._open.get(_id(step, clip), set())
        return bool(missing) if what is None else what in missing

    def rates(
        self,
        step: Step,
        clip: PlannedClip,
        rates: Iterable[Rate],
    ) -> None:
        """Writes the rates of one clip, all kinds together."""
        rows = []
        for rate in rates:
            what = f"{Kind.RATE}/{rate.kind}"
            score = Score(rate.bits, rate.status, rate.reason)
            rows.append(
                self._row(
                    step, clip, what, score, seconds=rate.seconds, unit="bit", backend=rate.model
                )
            )
        self._write(rows, _id(step, clip), RATES)

    def metric(
        self,
        step: Step,
        clip: PlannedClip,
        metric: Metric,
        score: Score,
        seconds: float,
    ) -> None:
        """Writes one score."""
        row = self._row(
            step,
            clip,
            metric.key,
            score,
            seconds=seconds,
            unit=metric.definition.unit,
            backend=metric.backend.name,
        )
        self._write([row], _id(step, clip), metric.key)

    def delay(
        self,
        step: Step,
        clip: PlannedClip,
        score: Score,
        seconds: float,
    ) -> None:
        """Writes the residual delay, in milliseconds."""
        row = self._row(
            step,
            clip,
            RESIDUAL_DELAY,
            score,
            seconds=seconds,
            unit=MILLISECONDS,
            backend="cross-correlation",
        )
        self._write([row], _id(step, clip), RESIDUAL_DELAY)

    def fail_step(
        self,
        step: Step,
        clip: PlannedClip,
        reason: str,
        seconds: float = 0.0,
    ) -> None:
        """Writes a failed row for all that is still open of a step."""
        score = Score.failed(reason)
        by_key = {metric.key: metric for metric in self._metrics[clip.clip.domain]}
        for what in sorted(self._open.get(_id(step, clip), set())):
            if what.startswith(RATES):
                headline = RateKind(what.removeprefix(RATES))
                failed = [
                    Rate(kind, math.nan, seconds, _MODELS.get(kind, ""), score.status, reason)
                    for kind in _TOGETHER.get(headline, (headline,))
                ]
                self.rates(step, clip, failed)
            elif what == RESIDUAL_DELAY:
                self.delay(step, clip, score, seconds)
            else:
                self.metric(step, clip, by_key[what], score, seconds)

    def close(self, steps: Iterable[Step], clips: Sequence[PlannedClip]) -> None:
        """Writes a failed row for whatever is still open: no unit ends without one."""
        by_id = {step.id: step for step in steps}
        by_name = {clip.clip.name: clip for clip in clips}
        for system, point, variant, clip in list(self._open):
            step = by_id[system, point, variant]
            self.fail_step(step, by_name[clip], f"{step}: no result came back")

    def _row(
        self,
        step: Step,
        clip: PlannedClip,
        what: str,
        score: Score,
        *,
        seconds: float,
        unit: str,
        backend: str,
    ) -> Row:
        kind, _, key = what.partition("/") if "/" in what else (Kind.METRIC.value, "", what)
        if score.status is Status.OK and not math.isfinite(score.value):
            score = Score.failed(f"{key} came out as {score.value}, which is no measurement")
        return Row(
            unit_key=self._keys.key(step, clip, what),
            system=step.system.name,
            curve=step.system.spec.curve,
            point=step.point.name,
            variant=step.variant.value,
            clip=clip.clip.name,
            domain=clip.clip.domain,
            group=clip.clip.group,
            seconds=seconds,
            kind=Kind(kind),
            key=key,
            value=score.value,
            unit=unit,
            backend=backend,
            status=score.status,
            reason=score.reason,
        )

    def _write(self, rows: Sequence[Row], opened: StepId, finished: str) -> None:
        self._writer.append(rows)
        self.written += len(rows)
        self.failed += sum(row.status is Status.FAILED for row in rows)
        missing = self._open.get(opened)
        if missing is None:
            return
        missing -= {what for what in missing if what == finished or _is_rate(what, finished)}
        if not missing:
            del self._open[opened]
            self._progress.advance()


def _id(step: Step, clip: PlannedClip) -> StepId:
    return *step.id, clip.clip.name


def _is_rate(what: str, finished: str) -> bool:
    # All kinds of rate of a step are written together, so that the headline stands for them.
    return finished == RATES and what.startswith(RATES)
