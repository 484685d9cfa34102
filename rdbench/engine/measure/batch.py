"""One batch of equally long references, and the work on them that every system shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from rdbench.audio.resample import resample_batch
from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.channels import batch_under
from rdbench.types import AudioBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.audio.load import Excerpt
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.metrics import Metric


class Batch:
    """References of one domain, rate, layout and length, on the device.

    clips: what they are. excerpts: as they were loaded. reference: (clips, channels, time).
    """

    def __init__(
        self, clips: Sequence[PlannedClip], excerpts: Sequence[Excerpt], device: str
    ) -> None:
        self.clips = tuple(clips)
        self.excerpts = tuple(excerpts)
        samples = torch.stack([excerpt.samples for excerpt in excerpts]).to(device)
        lengths = torch.full((len(clips),), samples.shape[-1], dtype=torch.int64)
        self.reference = AudioBatch(samples, lengths, excerpts[0].sample_rate)
        self._rates: dict[int, AudioBatch] = {self.reference.sample_rate: self.reference}
        self._prepared: dict[Metric, Any] = {}
        self._places = {clip.name: index for index, clip in enumerate(clips)}

    @property
    def domain(self) -> str:
        """The domain of all clips."""
        return self.clips[0].domain

    @property
    def seconds(self) -> float:
        """Unpadded seconds of each clip."""
        return self.reference.samples.shape[-1] / self.reference.sample_rate

    def places(self, clips: Sequence[PlannedClip]) -> list[int]:
        """Where some clips stand in the batch."""
        return [self._places[clip.name] for clip in clips]

    def part(self, indices: Sequence[int]) -> AudioBatch:
        """The references at `indices` (in order; all of them is the batch itself)."""
        if len(indices) == len(self.clips):
            return self.reference
        return self.reference.select(indices)

    def rate_of(self, metric: Metric) -> int:
        """The sample rate at which `metric` is computed here, in hertz."""
        return metric.definition.sample_rate or self.reference.sample_rate

    def reference_at(self, rate: int) -> AudioBatch:
        """The references at `rate`, resampled once."""
        if rate not in self._rates:
            self._rates[rate] = resample_batch(self.reference, rate)
        return self._rates[rate]

    def prepared(self, metric: Metric, indices: Sequence[int]) -> Any:
        """The backend's work on the references at `indices`, kept where all are asked for."""
        backend, rule = metric.backend, metric.definition.channels
        assert isinstance(backend, DeviceBackend)
        rate = self.rate_of(metric)
        if len(indices) < len(self.clips):
            if rate in self._rates:
                part = self._rates[rate].select(indices)
            else:
                part = resample_batch(self.part(indices), rate)
            return backend.prepare(batch_under(rule, part))
        if metric not in self._prepared:
            self._prepared[metric] = backend.prepare(batch_under(rule, self.reference_at(rate)))
        return self._prepared[metric]


def as_array(audio: AudioBatch, index: int) -> npt.NDArray[np.float32]:
    """One clip of a batch as a float32 array (channels, time), without its padding."""
    length = int(audio.lengths[index])
    array: npt.NDArray[np.float32] = audio.samples[index, :, :length].contiguous().cpu().numpy()
    return array
