"""One batch of equally long references, and the work on them that every system shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from rdbench.audio.resample import resample_batch
from rdbench.engine.plan.clips import duration_hint
from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.channels import batch_under
from rdbench.types import AudioBatch, Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.audio.load import Excerpt
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.metrics import Metric

TEXT_TOLERANCE = 0.1
"""Seconds that an excerpt may lack of its clip and still have the clip's text: no word is shorter,
and compressed files do not know their length better."""


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
            return backend.prepare(batch_under(rule, part), **self._more(metric, indices))
        if metric not in self._prepared:
            whole = batch_under(rule, self.reference_at(rate))
            self._prepared[metric] = backend.prepare(whole, **self._more(metric, indices))
        return self._prepared[metric]

    def _more(self, metric: Metric, indices: Sequence[int]) -> dict[str, Any]:
        """What a backend is told of its references beside the audio."""
        if not metric.definition.reads_text:
            return {}
        return {"texts": [self._text(self.clips[index]) for index in indices]}

    def _text(self, planned: PlannedClip) -> str | Score:
        """The text of a clip, which is that of the whole clip."""
        if not planned.clip.text:
            return Score.undefined("it has no text; write it in the manifest's column text")
        whole = duration_hint(planned)
        if whole > self.seconds + TEXT_TOLERANCE:
            return Score.undefined(
                f"its text is that of {whole:.2f} s, of which {self.seconds:.2f} s are taken; set "
                "excerpt_seconds to null"
            )
        return planned.clip.text


def as_array(audio: AudioBatch, index: int) -> npt.NDArray[np.float32]:
    """One clip of a batch as a float32 array (channels, time), without its padding."""
    length = int(audio.lengths[index])
    array: npt.NDArray[np.float32] = audio.samples[index, :, :length].contiguous().cpu().numpy()
    return array
