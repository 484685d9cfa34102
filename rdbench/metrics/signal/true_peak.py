"""The highest level that a reconstruction reaches between its samples.

    true_peak = 20 log10 max_{c,n} | y_c[n] |   in dBTP

with y the signal at M times its rate, M the least power of two that makes this 176.4 kHz or more
(4 at 44.1 and 48 kHz), by the project's resampler. 0 dBTP is full scale: what is above it clips
when it is played, written as integers or coded again, and codecs at low rates raise peaks.

Recommendation ITU-R BS.1770-4, 2015, Annex 2, which asks for 192 kHz or so from an interpolator of
48 taps; this one has more, and what lies outside of the clip counts as zero in both. EBU Tech 3341
(2016) states levels of test signals, with tolerances of +0.2 and -0.4 dB.

It needs no reference, and takes all channels at once. Silence has no peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.metrics.base import BackendFactory, ChannelRule, Direction, MetricDefinition, Scope
from rdbench.metrics.equal_lengths import EqualLengths
from rdbench.metrics.one_clip import score_clip
from rdbench.types import Score

if TYPE_CHECKING:
    import torch

    from rdbench.metrics.one_clip import Clip

LEAST_RATE = 176_400  # hertz: four times 44.1 kHz

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key="true_peak",
        version=1,
        name="True peak",
        unit="dBTP",
        direction=Direction.LOWER,
        lower=-math.inf,
        upper=math.inf,
        identity=math.nan,
        domains=(),
        sample_rate=None,
        minimum_seconds=0.0,
        needs_alignment=False,
        definition="the reconstruction's highest level between samples over all channels, "
        f"oversampled to {LEAST_RATE / 1000:g} kHz or more; above 0 dBTP it clips",
        citation="Recommendation ITU-R BS.1770-4, 2015, Annex 2",
        channels=ChannelRule.JOINT,
        scope=Scope.CLIP_ALONE,
    ),
)


class TruePeakBackend(EqualLengths):
    """`true_peak` as the module defines it."""

    tolerance = 1e-3  # decibels: the resampler works in float32
    at_once = 2**18

    def shortest(self, sample_rate: int) -> int:
        """One sample."""
        return 1

    def features(self, samples: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """The highest magnitude of each clip, (clips,)."""
        from rdbench.audio.resample import resample

        factor = 1
        while factor * sample_rate < LEAST_RATE:
            factor *= 2
        between = resample(samples, sample_rate, factor * sample_rate)
        return between.abs().flatten(1).amax(-1)

    def scores(self, reference: None, reconstruction: torch.Tensor) -> Sequence[Score]:
        """The level of each."""
        return [_level(peak) for peak in reconstruction.tolist()]


def _level(peak: float) -> Score:
    if not math.isfinite(peak):
        return Score.failed("the reconstruction holds samples that are not finite")
    if peak == 0:
        return Score.undefined("the reconstruction is silent")
    return Score(20 * math.log10(peak))


def true_peak(*, reconstruction: Clip, sample_rate: int) -> Score:
    """`true_peak`: the highest level between samples, in dBTP.

    reconstruction: one clip, (time,) or (channels, time); sample_rate: hertz.
    """
    return score_clip(TruePeakBackend(), reconstruction=reconstruction, sample_rate=sample_rate)


def backends(_key: str) -> dict[str, BackendFactory]:
    """How to build each backend of the one key, the first being the default."""
    return {"torch": TruePeakBackend}
