"""Scores of single clips, and the delay that is left.

Tensor metrics run in the shard's process, on its device; those of reference packages where its
native jobs run. The residual delay is measured for every reconstruction, and removed before metrics
that need alignment; before all others, too, where the protocol says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from rdbench.audio import align
from rdbench.engine.measure.batch import as_array
from rdbench.engine.measure.native import failed, score_clip, warmed
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Work
from rdbench.engine.plan.families import Columns
from rdbench.metrics.base import DeviceBackend, PoolBackend
from rdbench.metrics.channels import batch_under
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score, Status

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.engine.measure.decoded import Compared, Decoded
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.plan.metrics import Metric
    from rdbench.engine.plan.systems import Step

RESIDUAL_DELAY = Quantity(Kind.METRIC, "residual_delay")


@dataclass(frozen=True, eq=False)
class ScoresPass(Pass):
    """metrics: by domain, those with a value for each clip. align: whether the residual delay is
    removed before every metric, and not only before those that need it.
    """

    metrics: Mapping[str, Sequence[Metric]]
    align: bool = False
    name = "scores"
    scores = True

    def owns(self, quantity: Quantity) -> bool:
        """The residual delay and the metrics of clips."""
        return quantity == RESIDUAL_DELAY or quantity in self._by_quantity()

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """The residual delay and every metric of the domain."""
        return [RESIDUAL_DELAY, *(quantity_of(metric) for metric in self.metrics[domain])]

    def takes_kept(self, quantity: Quantity) -> bool:
        """Scores, whose rows then say so; a delay has been measured already."""
        return quantity != RESIDUAL_DELAY

    def columns(self, quantity: Quantity) -> Columns:
        """The metric's unit and the program that computes it."""
        if quantity == RESIDUAL_DELAY:
            return Columns("ms", "cross-correlation")
        metric = self._by_quantity()[quantity]
        return Columns(metric.definition.unit, metric.backend_name)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The metric's identity, and the version of the code that finds and removes a delay."""
        if quantity == RESIDUAL_DELAY:
            return [self.name, align.VERSION]
        return self._by_quantity()[quantity].identity(everywhere=self.align)

    def by_text(self, quantity: Quantity) -> bool:
        """Of metrics that are held against it."""
        metric = self._by_quantity().get(quantity)
        return metric is not None and metric.definition.reads_text

    def files(self) -> Mapping[str, Mapping[Path, str]]:
        """Those of the metrics."""
        return {one.key: dict(one.files) for one in self._by_quantity().values()}

    def warm_up(self) -> None:
        """Builds every backend, and compiles those of packages."""
        for metric in self._by_quantity().values():
            if isinstance(metric.backend, PoolBackend):
                warmed(metric)

    def on_decoded(self, work: Work, decoded: Decoded, desk: Desk) -> None:
        """Scores on every metric that is open; scores of native jobs arrive later."""
        metrics = self.metrics[decoded.batch.domain]
        _Scoring(work, decoded, metrics, desk, align=self.align).run()

    def _by_quantity(self) -> dict[Quantity, Metric]:
        return {quantity_of(one): one for chosen in self.metrics.values() for one in chosen}


def quantity_of(metric: Metric) -> Quantity:
    """What rows call a metric's value."""
    return Quantity(Kind.METRIC, metric.key)


class _Scoring:
    """The scores of one batch of reconstructions, those of the clips of `work` in order."""

    def __init__(
        self, work: Work, decoded: Decoded, metrics: Sequence[Metric], desk: Desk, *, align: bool
    ) -> None:
        self._work = work
        self._decoded = decoded
        self._batch = decoded.batch
        self._metrics = metrics
        self._desk = desk
        self._align = align

    def run(self) -> None:
        """Out of device memory, the batch is halved until it fits or a single clip fails."""
        try:
            self._run()
        except torch.cuda.OutOfMemoryError as error:
            reason = f"{self._work.step}: out of device memory while scoring ({error})"
        else:
            return
        # Outside of the handler, whose traceback would keep the failed attempt's tensors.
        self._decoded.release()
        torch.cuda.empty_cache()
        if len(self._work.clips) == 1:
            own = [RESIDUAL_DELAY, *(quantity_of(metric) for metric in self._metrics)]
            self._work.fail(0, reason, own)
            return
        half = len(self._work.clips) // 2
        for positions in (range(half), range(half, len(self._work.clips))):
            self._part(positions).run()

    def _run(self) -> None:
        if self._work.wants(RESIDUAL_DELAY):
            self._record_delays()
        native: dict[Compared, list[Metric]] = {}
        for metric in self._metrics:
            if not self._work.wants(quantity_of(metric)):
                continue
            if self._batch.seconds < metric.definition.minimum_seconds:
                shortest = metric.definition.minimum_seconds
                reason = f"{self._batch.seconds:.3f} s is shorter than the {shortest:g} s needed"
                self._record(metric, [Score.undefined(reason)] * len(self._work.clips))
            elif isinstance(metric.backend, DeviceBackend):
                self._record(metric, self._on_device(metric, metric.backend))
            else:
                native.setdefault(self._compared(metric), []).append(metric)
        for position in range(len(self._work.clips)):
            for compared, metrics in native.items():
                self._submit(position, compared, metrics)

    def _part(self, positions: Sequence[int]) -> _Scoring:
        part, decoded = self._work.part(positions), self._decoded.part(positions)
        return _Scoring(part, decoded, self._metrics, self._desk, align=self._align)

    def _record_delays(self) -> None:
        rate = self._decoded.audio.sample_rate
        for position, samples in enumerate(self._decoded.delays):
            score = (
                Score.undefined("no lag at which reference and reconstruction correlate")
                if samples is None
                else Score(1000.0 * samples / rate)
            )
            self._work.record(position, RESIDUAL_DELAY, score)

    def _compared(self, metric: Metric) -> Compared:
        return self._decoded.compared(metric.definition, everywhere=self._align)

    def _on_device(self, metric: Metric, backend: DeviceBackend) -> list[Score]:
        try:
            compared = self._compared(metric)
            decoded = compared.at(self._batch.rate_of(metric))
            audio = batch_under(metric.definition.channels, decoded)
            return backend.score(compared.prepared(metric), reconstruction=audio)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            if len(self._work.clips) == 1:
                return [failed(metric, error)]
        # One bad clip must not cost the others of its batch.
        parts = [self._part([position]) for position in range(len(self._work.clips))]
        return [part._on_device(metric, backend)[0] for part in parts]

    def _submit(
        self, position: int, compared: Compared, metrics: Sequence[Metric], *, again: bool = False
    ) -> None:
        wanted = [one for one in metrics if self._work.wants(quantity_of(one), position)]
        if not wanted:
            return
        rates = {self._batch.rate_of(metric) for metric in wanted}

        def done(scores: list[Score]) -> None:
            for metric, score in zip(wanted, scores, strict=True):
                self._record_one(metric, position, score)

        def lost(reason: str) -> None:
            if len(wanted) > 1:  # one bad metric must not cost the others
                for metric in wanted:
                    self._submit(position, compared, [metric], again=True)
                return
            self._record_one(wanted[0], position, Score.failed(f"{wanted[0].key}: {reason}"))

        self._desk.jobs.submit(
            score_clip,
            [(metric, self._batch.rate_of(metric)) for metric in wanted],
            compared.name(position),
            {rate: compared.reference(position, rate) for rate in rates},
            {rate: as_array(compared.at(rate), position) for rate in rates},
            timeout=self._desk.timeout,
            done=done,
            lost=lost,
            tries=1 if again or len(wanted) > 1 else 2,
        )

    def _record(self, metric: Metric, scores: Sequence[Score]) -> None:
        for position, score in enumerate(scores):
            self._record_one(metric, position, score)

    def _record_one(self, metric: Metric, position: int, score: Score) -> None:
        if score.status is Status.OK and self._work.note:
            score = Score(score.value, score.status, self._work.note)
        self._work.record(position, quantity_of(metric), score)
