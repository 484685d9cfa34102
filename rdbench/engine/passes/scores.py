"""Scores of single clips, and the delay that is left.

Tensor metrics run in the shard's process, on its device; those of reference packages where its
native jobs run. The residual delay is measured for every reconstruction, and removed first where
the protocol says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from rdbench.audio.align import residual_delay
from rdbench.audio.resample import resample_batch
from rdbench.engine.measure.batch import Batch, as_array
from rdbench.engine.measure.native import failed, score_clip, warmed
from rdbench.engine.plan.passes import Columns, Pass, Work
from rdbench.metrics.base import DeviceBackend, PoolBackend, Scope
from rdbench.store.schema import Kind, Quantity
from rdbench.types import AudioBatch, Score, Status

if TYPE_CHECKING:
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.plan.metrics import Metric
    from rdbench.engine.plan.systems import Step

RESIDUAL_DELAY = Quantity(Kind.METRIC, "residual_delay")


@dataclass(frozen=True, eq=False)
class ScoresPass(Pass):
    """metrics: by domain, those with a value for each clip."""

    metrics: Mapping[str, Sequence[Metric]]
    name = "scores"

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
        """The metric's identity; of the delay, the version of the code that finds it."""
        from rdbench.audio import align

        if quantity == RESIDUAL_DELAY:
            return [self.name, align.VERSION]
        return self._by_quantity()[quantity].identity()

    def warm_up(self) -> None:
        """Builds every backend, and compiles those of packages."""
        for metric in self._by_quantity().values():
            if isinstance(metric.backend, PoolBackend):
                warmed(metric)

    def on_decoded(self, work: Work, batch: Batch, audio: AudioBatch, desk: Desk) -> None:
        """Scores on every metric that is open; scores of native jobs arrive later."""
        _Scoring(work, batch, audio, self.metrics[batch.domain], desk, align=desk.align).run()

    def _by_quantity(self) -> dict[Quantity, Metric]:
        return {quantity_of(one): one for chosen in self.metrics.values() for one in chosen}


def quantity_of(metric: Metric) -> Quantity:
    """What rows call a metric's value."""
    return Quantity(Kind.METRIC, metric.key)


class _Scoring:
    """The scores of one batch of reconstructions, those of the clips of `work` in order."""

    def __init__(
        self,
        work: Work,
        batch: Batch,
        audio: AudioBatch,
        metrics: Sequence[Metric],
        desk: Desk,
        *,
        align: bool,
    ) -> None:
        self._work = work
        self._batch = batch
        self._audio = audio
        self._metrics = metrics
        self._desk = desk
        self._align = align
        self._indices = batch.places(work.clips)
        self._rates: dict[int, AudioBatch] = {}

    def run(self) -> None:
        """Out of device memory, the batch is halved until it fits or a single clip fails."""
        try:
            self._run()
        except torch.cuda.OutOfMemoryError as error:
            reason = f"{self._work.step}: out of device memory while scoring ({error})"
        else:
            return
        # Outside of the handler, whose traceback would keep the failed attempt's tensors.
        self._rates.clear()
        torch.cuda.empty_cache()
        if len(self._indices) == 1:
            own = [RESIDUAL_DELAY, *(quantity_of(metric) for metric in self._metrics)]
            self._work.fail(0, reason, own)
            return
        half = len(self._indices) // 2
        for positions in (range(half), range(half, len(self._indices))):
            self._part(positions).run()

    def _run(self) -> None:
        self._measure_delay()
        self._rates = {self._audio.sample_rate: self._audio}
        native: list[Metric] = []
        for metric in self._metrics:
            if not self._work.wants(quantity_of(metric)):
                continue
            if self._batch.seconds < metric.definition.minimum_seconds:
                shortest = metric.definition.minimum_seconds
                reason = f"{self._batch.seconds:.3f} s is shorter than the {shortest:g} s needed"
                self._record(metric, [Score.undefined(reason)] * len(self._indices))
            elif isinstance(metric.backend, DeviceBackend):
                self._record(metric, self._on_device(metric, metric.backend))
            else:
                native.append(metric)
        for position in range(len(self._indices)):
            self._submit(position, native)

    def _part(self, positions: Sequence[int]) -> _Scoring:
        return _Scoring(
            self._work.part(positions),
            self._batch,
            self._audio.select(positions),
            self._metrics,
            self._desk,
            align=self._align,
        )

    def _measure_delay(self) -> None:
        if not self._align and not self._work.wants(RESIDUAL_DELAY):
            return
        reference = self._batch.part(self._indices)
        delays = residual_delay(reference=reference, reconstruction=self._audio)
        for position, samples in enumerate(delays):
            score = (
                Score.undefined("no lag at which reference and reconstruction correlate")
                if samples is None
                else Score(1000.0 * samples / self._audio.sample_rate)
            )
            self._work.record(position, RESIDUAL_DELAY, score)
        if self._align:
            self._audio = advance(self._audio, [samples or 0 for samples in delays])
            self._align = False

    def _on_device(self, metric: Metric, backend: DeviceBackend) -> list[Score]:
        alone = metric.definition.scope is Scope.CLIP_ALONE
        try:
            prepared = None if alone else self._batch.prepared(metric, self._indices)
            return backend.score(prepared, reconstruction=self._at(self._batch.rate_of(metric)))
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # a metric may be anyone's: its fault is a row
            if len(self._indices) == 1:
                return [failed(metric, error)]
        # One bad clip must not cost the others of its batch.
        parts = [self._part([position]) for position in range(len(self._indices))]
        return [part._on_device(metric, backend)[0] for part in parts]

    def _submit(self, position: int, metrics: Sequence[Metric], *, again: bool = False) -> None:
        wanted = [one for one in metrics if self._work.wants(quantity_of(one), position)]
        if not wanted:
            return
        index = self._indices[position]
        rates = {self._batch.rate_of(metric) for metric in wanted}

        def done(scores: list[Score]) -> None:
            for metric, score in zip(wanted, scores, strict=True):
                self._record_one(metric, position, score)

        def lost(reason: str) -> None:
            if len(wanted) > 1:  # one bad metric must not cost the others
                for metric in wanted:
                    self._submit(position, [metric], again=True)
                return
            self._record_one(wanted[0], position, Score.failed(f"{wanted[0].key}: {reason}"))

        self._desk.jobs.submit(
            score_clip,
            [(metric, self._batch.rate_of(metric)) for metric in wanted],
            f"{self._batch.domain} {self._batch.clips[index].content}",
            {rate: as_array(self._batch.reference_at(rate), index) for rate in rates},
            {rate: as_array(self._at(rate), position) for rate in rates},
            timeout=self._desk.timeout,
            done=done,
            lost=lost,
            tries=1 if again or len(wanted) > 1 else 2,
        )

    def _at(self, rate: int) -> AudioBatch:
        if rate not in self._rates:
            self._rates[rate] = resample_batch(self._audio, rate)
        return self._rates[rate]

    def _record(self, metric: Metric, scores: Sequence[Score]) -> None:
        for position, score in enumerate(scores):
            self._record_one(metric, position, score)

    def _record_one(self, metric: Metric, position: int, score: Score) -> None:
        if score.status is Status.OK and self._work.note:
            score = Score(score.value, score.status, self._work.note)
        self._work.record(position, quantity_of(metric), score)


def advance(audio: AudioBatch, delays: Sequence[int]) -> AudioBatch:
    """Shifts each clip earlier by its delay in samples; zeros come in at the open end."""
    samples = torch.zeros_like(audio.samples)
    time = audio.samples.shape[-1]
    for index, delay in enumerate(delays):
        shift = max(-time, min(time, delay))
        if shift >= 0:
            samples[index, :, : time - shift] = audio.samples[index, :, shift:]
        else:
            samples[index, :, -shift:] = audio.samples[index, :, : time + shift]
    return AudioBatch(samples, audio.lengths, audio.sample_rate)
