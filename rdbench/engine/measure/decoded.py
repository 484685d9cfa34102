"""Reconstructions of some clips of a batch, beside their references, as metrics compare them.

A metric that needs alignment sees them without their residual delay, and both sides without what
the move leaves unknown at their ends. Every other one sees them as decoded or, where the protocol
removes the residual delay from all, moved and at full length. The delay is found once for each
reconstruction, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdbench.audio.align import residual_delay
from rdbench.audio.resample import resample_batch
from rdbench.audio.shift import advance, cut, leaves_half, spans
from rdbench.engine.measure.batch import as_array
from rdbench.metrics.base import Alignment, DeviceBackend, Scope
from rdbench.metrics.channels import batch_under

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.plan.metrics import Metric
    from rdbench.metrics.base import MetricDefinition
    from rdbench.types import AudioBatch


class Decoded:
    """What one step decoded of some clips of a batch.

    audio: as decoded, at the protocol's rate, layout and lengths. indices: of its clips in the
    batch. delays: of its clips, where they are known.
    """

    def __init__(
        self,
        audio: AudioBatch,
        batch: Batch,
        indices: Sequence[int],
        delays: Sequence[float | None] | None = None,
    ) -> None:
        self.audio = audio
        self.batch = batch
        self.indices = tuple(indices)
        self._delays = delays
        self._made: dict[Alignment, Compared] = {}

    @property
    def delays(self) -> Sequence[float | None]:
        """Samples by which each clip is late; None where there is no delay to speak of."""
        if self._delays is None:
            reference = self.batch.part(self.indices)
            self._delays = residual_delay(reference=reference, reconstruction=self.audio)
        return self._delays

    def compared(self, definition: MetricDefinition, *, everywhere: bool) -> Compared:
        """What a metric compares; everywhere: whether the protocol removes the delay from all."""
        how = definition.alignment(everywhere=everywhere)
        if how is not Alignment.NONE and not any(self._removed()):
            how = Alignment.NONE
        if how not in self._made:
            self._made[how] = self._make(how)
        return self._made[how]

    def part(self, positions: Sequence[int]) -> Decoded:
        """The clips at some positions alone."""
        return Decoded(
            self.audio.select(positions),
            self.batch,
            [self.indices[one] for one in positions],
            None if self._delays is None else [self._delays[one] for one in positions],
        )

    def release(self) -> None:
        """Forgets what was made of the audio; what is asked for again is made again."""
        self._made.clear()

    def _make(self, how: Alignment) -> Compared:
        if how is Alignment.NONE:
            return Compared(self.audio, self.batch, self.indices)
        removed = self._removed()
        moved = advance(self.audio, removed)
        if how is Alignment.MOVED:
            return Compared(moved, self.batch, self.indices)
        known = spans(self.audio.lengths, removed)
        return Compared(cut(moved, known), self.batch, self.indices, known)

    def _removed(self) -> list[float]:
        """The delays that are removed: those that leave at least half of their clip."""
        delays = [delay or 0.0 for delay in self.delays]
        enough = leaves_half(self.audio.lengths, delays)
        return [delay if kept else 0.0 for delay, kept in zip(delays, enough, strict=True)]


class Compared:
    """References and reconstructions of the same clips, at any rate.

    audio: reconstructions, at the protocol's rate. spans: what they are of the references, by clip
    the first sample and the one past the last; None: all of it, and work on references is shared.
    """

    def __init__(
        self,
        audio: AudioBatch,
        batch: Batch,
        indices: Sequence[int],
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self.audio = audio
        self._batch = batch
        self._indices = indices
        self._spans = spans
        self._rates: dict[int, AudioBatch] = {audio.sample_rate: audio}
        self._references: dict[int, AudioBatch] = {}

    def at(self, rate: int) -> AudioBatch:
        """The reconstructions at `rate` hertz, resampled once."""
        if rate not in self._rates:
            self._rates[rate] = resample_batch(self.audio, rate)
        return self._rates[rate]

    def prepared(self, metric: Metric) -> Any:
        """The work of the metric's backend on the references; None where it takes none."""
        if metric.definition.scope is Scope.CLIP_ALONE:
            return None
        if self._spans is None:
            return self._batch.prepared(metric, self._indices)
        assert isinstance(metric.backend, DeviceBackend)
        reference = self._reference_at(self._batch.rate_of(metric))
        return metric.backend.prepare(batch_under(metric.definition.channels, reference))

    def reference(self, position: int, rate: int) -> npt.NDArray[np.float32]:
        """One reference at `rate` hertz, (channels, time)."""
        if self._spans is None:
            return as_array(self._batch.reference_at(rate), self._indices[position])
        return as_array(self._reference_at(rate), position)

    def name(self, position: int) -> str:
        """What one reference is: its content, how it was prepared, and which part it is."""
        whole = f"{self._batch.domain} {self._batch.clips[self._indices[position]].content}"
        return whole if self._spans is None else f"{whole} {self._spans[position]}"

    def _reference_at(self, rate: int) -> AudioBatch:
        """The parts of the references that are compared, each resampled alone."""
        assert self._spans is not None
        if rate not in self._references:
            part = cut(self._batch.part(self._indices), self._spans)
            self._references[rate] = resample_batch(part, rate)
        return self._references[rate]
