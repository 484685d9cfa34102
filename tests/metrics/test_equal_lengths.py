"""Metrics that go by length: a clip scores in any batch what it scores alone."""

from __future__ import annotations

import math

import pytest
import torch

from rdbench.metrics.base import DeviceBackend, Scope
from rdbench.metrics.registry import backend, definition
from rdbench.types import AudioBatch, Status

KEYS = ("stereo_level", "stereo_correlation", "pre_echo", "bandwidth", "spectral_tilt", "true_peak")
RATE = 16000


def batch(clips: list[torch.Tensor], fill: float) -> AudioBatch:
    """Clips (2, time) of any length in one batch, padded with `fill`."""
    lengths = torch.tensor([clip.shape[-1] for clip in clips])
    samples = torch.full((len(clips), 2, int(lengths.max())), fill)
    for index, clip in enumerate(clips):
        samples[index, :, : clip.shape[-1]] = clip
    return AudioBatch(samples, lengths, RATE)


@pytest.mark.parametrize("key", KEYS)
def test_a_clip_scores_in_a_batch_what_it_scores_alone(key: str, monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(2, n, generator=generator) for n in (9000, 100, 9000, 7001, 9000)]
    for clip in clips:
        clip[:, :4000] *= 0.01  # an attack
    worse = [(clip + 0.2 * clip.roll(1, 0) + 0.003).tanh() for clip in clips]
    metric = backend(key)
    assert isinstance(metric, DeviceBackend)

    def scores(reference: list[torch.Tensor], other: list[torch.Tensor], fill: float) -> list:
        alone = definition(key).scope is Scope.CLIP_ALONE
        prepared = None if alone else metric.prepare(batch(reference, fill))
        return metric.score(prepared, reconstruction=batch(other, fill))

    alone = [scores([x], [y], 0.0)[0] for x, y in zip(clips, worse, strict=True)]
    together = scores(clips, worse, math.nan)
    monkeypatch.setattr(metric, "at_once", 20000)  # a clip at a time, and so are the references
    in_parts = scores(clips, worse, math.nan)
    assert alone[0].status is Status.OK
    assert [one.status for one in alone].count(Status.OK) >= 4
    for one, *others in zip(alone, together, in_parts, strict=True):
        for other in others:
            assert other.status is one.status
            assert other.value == pytest.approx(one.value, abs=1e-4, nan_ok=True)
