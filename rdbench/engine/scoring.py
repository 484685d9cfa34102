"""Scores one batch of reconstructions of one step: tensor metrics here, the others in the pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from rdbench.audio.align import residual_delay
from rdbench.audio.resample import resample_batch
from rdbench.engine.batch import Batch, as_array
from rdbench.engine.plan import RESIDUAL_DELAY, Metric, Step
from rdbench.engine.worker import MetricChoice, score_clip
from rdbench.metrics.base import DeviceBackend
from rdbench.types import AudioBatch, Score

if TYPE_CHECKING:
    from rdbench.engine.ledger import Ledger
    from rdbench.engine.pool import Jobs


class Scoring:
    """The scores of one reconstruction batch.

    indices: which clips of `batch` the reconstructions in `audio` belong to, in order.
    timeout: seconds for one pool job. align: score after removing the residual delay. note: the
    reason of scores that are ok.
    """

    def __init__(
        self,
        *,
        step: Step,
        batch: Batch,
        indices: Sequence[int],
        audio: AudioBatch,
        ledger: Ledger,
        pool: Jobs,
        timeout: float,
        align: bool,
        note: str = "",
    ) -> None:
        self._note = note
        self._step = step
        self._batch = batch
        self._indices = list(indices)
        self._audio = audio
        self._ledger = ledger
        self._pool = pool
        self._timeout = timeout
        self._align = align
        self._rates: dict[int, AudioBatch] = {}

    def run(self) -> None:
        """Scores on every metric that is still open; pool scores arrive later.

        Out of device memory, the batch is halved until it fits or a single clip fails.
        """
        try:
            self._run()
        except torch.cuda.OutOfMemoryError as error:
            reason = f"{self._step}: out of device memory while scoring ({error})"
        else:
            return
        # Outside of the handler, whose traceback would keep the failed attempt's tensors.
        self._rates.clear()
        torch.cuda.empty_cache()
        self._halve(reason)

    def _run(self) -> None:
        self._audio = self._audio.to(self._batch.reference.samples.device)
        self._drop_unusable()
        if not self._indices:
            return
        self._measure_delay()
        self._rates = {self._audio.sample_rate: self._audio}
        pooled: list[Metric] = []
        for metric in self._batch.metrics:
            if not any(self._wants(index, metric.key) for index in self._indices):
                continue
            if self._batch.seconds < metric.definition.minimum_seconds:
                shortest = metric.definition.minimum_seconds
                reason = f"{self._batch.seconds:.3f} s is shorter than the {shortest:g} s needed"
                self._write(metric, [Score.undefined(reason)] * len(self._indices))
            elif isinstance(metric.backend, DeviceBackend):
                self._write(metric, self._on_device(metric, metric.backend))
            else:
                pooled.append(metric)
        for position, index in enumerate(self._indices):
            self._submit(position, index, pooled)

    def _halve(self, reason: str) -> None:
        if len(self._indices) == 1:
            clip = self._batch.clips[self._indices[0]]
            self._ledger.fail_step(self._step, clip, reason, self._batch.seconds)
            return
        half = len(self._indices) // 2
        for positions in (range(half), range(half, len(self._indices))):
            self._part(positions).run()

    def _part(self, positions: Sequence[int]) -> Scoring:
        return Scoring(
            step=self._step,
            batch=self._batch,
            indices=[self._indices[position] for position in positions],
            audio=self._audio.select(positions),
            ledger=self._ledger,
            pool=self._pool,
            timeout=self._timeout,
            align=self._align,
            note=self._note,
        )

    def _drop_unusable(self) -> None:
        finite = torch.isfinite(self._audio.samples).flatten(1).all(dim=1).tolist()
        if all(finite):
            return
        reason = f"{self._step} decoded to samples that are not finite"
        for index, usable in zip(self._indices, finite, strict=True):
            if not usable:
                clip = self._batch.clips[index]
                self._ledger.fail_step(self._step, clip, reason, self._batch.seconds)
        kept = [position for position, usable in enumerate(finite) if usable]
        self._indices = [self._indices[position] for position in kept]
        if kept:
            self._audio = self._audio.select(kept)

    def _measure_delay(self) -> None:
        reference = self._batch.part(self._indices)
        delays = residual_delay(reference=reference, reconstruction=self._audio)
        for index, samples in zip(self._indices, delays, strict=True):
            if self._wants(index, RESIDUAL_DELAY):
                score = (
                    Score.undefined("no lag at which reference and reconstruction correlate")
                    if samples is None
                    else Score(1000.0 * samples / self._audio.sample_rate)
                )
                clip = self._batch.clips[index]
                self._ledger.delay(self._step, clip, score, self._batch.seconds)
        if self._align:
            self._audio = advance(self._audio, [samples or 0 for samples in delays])
            self._align = False

    def _on_device(self, metric: Metric, backend: DeviceBackend) -> list[Score]:
        try:
            prepared = self._batch.prepared(metric, self._indices)
            return backend.score(prepared, reconstruction=self._at(self._batch.rate_of(metric)))
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            if len(self._indices) == 1:
                return [Score.failed(f"{metric.key} raised {type(error).__name__}: {error}")]
        # One bad clip must not cost the others of its batch.
        parts = [self._part([position]) for position in range(len(self._indices))]
        return [part._on_device(metric, backend)[0] for part in parts]

    def _submit(
        self, position: int, index: int, metrics: Sequence[Metric], *, again: bool = False
    ) -> None:
        wanted = [metric for metric in metrics if self._wants(index, metric.key)]
        if not wanted:
            return
        rates = {self._batch.rate_of(metric) for metric in wanted}
        choices = [(MetricChoice(m.key, m.backend.name), self._batch.rate_of(m)) for m in wanted]

        def done(results: list[list[Score]]) -> None:
            for metric, score in zip(wanted, results[0], strict=True):
                self._write_one(metric, index, score)

        def lost(reason: str) -> None:
            if len(wanted) > 1:  # one bad metric must not cost the others
                for metric in wanted:
                    self._submit(position, index, [metric], again=True)
                return
            self._write_one(wanted[0], index, Score.failed(f"{wanted[0].key}: {reason}"))

        self._pool.submit(
            score_clip,
            choices,
            self._ledger.reference_key(self._batch.clips[index]),
            {rate: as_array(self._batch.reference_at(rate), index) for rate in rates},
            [{rate: as_array(self._at(rate), position) for rate in rates}],
            timeout=self._timeout,
            done=done,
            lost=lost,
            tries=1 if again or len(wanted) > 1 else 2,
        )

    def _at(self, rate: int) -> AudioBatch:
        if rate not in self._rates:
            self._rates[rate] = resample_batch(self._audio, rate)
        return self._rates[rate]

    def _wants(self, index: int, what: str) -> bool:
        return self._ledger.wants(self._step, self._batch.clips[index], what)

    def _write(self, metric: Metric, scores: Sequence[Score]) -> None:
        for index, score in zip(self._indices, scores, strict=True):
            if self._wants(index, metric.key):
                self._write_one(metric, index, score)

    def _write_one(self, metric: Metric, index: int, score: Score) -> None:
        clip = self._batch.clips[index]
        self._ledger.metric(self._step, clip, metric, score, self._batch.seconds, note=self._note)


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
