"""How much louder or softer a reconstruction is, in loudness units.

The integrated loudness of ITU-R BS.1770-4 is

    L = -0.691 + 10 log10 Σ_c G_c z_c   in LUFS

with z_c the mean square of channel c after K-weighting (a shelf of +4 dB above 1.7 kHz and a
high-pass at 38 Hz) over those blocks of 400 ms, a quarter of a block apart, that lie above -70 LUFS
and no more than 10 LU under the mean of these; G is 1 for the first three channels and 1.41 for two
more. The metric is

    loudness_difference = | L(ŝ) - L(s) |   in LU.

Recommendation ITU-R BS.1770-4, "Algorithms to measure audio programme loudness and true-peak audio
level", 2015, Annex 1; by the package `pyloudnorm` (Steinmetz and Reiss, AES 150, 2021) with the
filters that give the recommendation's coefficients at 48 kHz ("DeMan").

Conventions:
- all channels make one loudness. A file of more than five has no loudness here; neither has one
  whose blocks all lie under -70 LUFS, which is silence to the recommendation;
- what is left over after the last whole quarter of a block is not measured, as the recommendation
  says (the package would count it as a block that ends in silence);
- samples are passed as float64.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import (
    BackendFactory,
    ChannelRule,
    Direction,
    MetricDefinition,
    PoolBackend,
)
from rdbench.metrics.one_clip import score_clip
from rdbench.metrics.packages import distribution_version
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.metrics.one_clip import Clip

BLOCK = 0.4  # seconds
STEP = 0.1
MOST_CHANNELS = 5

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key="loudness_difference",
        version=1,
        name="Loudness difference",
        unit="LU",
        direction=Direction.LOWER,
        lower=0.0,
        upper=math.inf,
        identity=0.0,
        domains=(),
        sample_rate=None,
        minimum_seconds=BLOCK,
        needs_alignment=False,
        definition="absolute difference of the integrated, gated loudness of all channels; "
        "undefined where one side has no block above -70 LUFS",
        citation="Recommendation ITU-R BS.1770-4, 2015, Annex 1; package pyloudnorm",
        channels=ChannelRule.JOINT,
    ),
)


class LoudnessBackend(PoolBackend):
    """The package `pyloudnorm`, on all channels of a clip."""

    name = "reference"
    tolerance = 0.0

    @cached_property
    def version(self) -> str:
        """The package's version; raises MissingExtraError where it is not installed."""
        return f"pyloudnorm {distribution_version('pyloudnorm', 'loudness_difference')}"

    def prepare(self, reference: npt.NDArray[np.float32], sample_rate: int) -> float:
        """The reference's loudness in LUFS."""
        return integrated_loudness(reference, sample_rate)

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """The difference of two loudnesses (channels, time)."""
        if reconstruction.shape[0] > MOST_CHANNELS:
            return Score.undefined(
                f"{reconstruction.shape[0]} channels, and loudness is that of {MOST_CHANNELS} or "
                "fewer"
            )
        levels = {
            "reference": prepared,
            "reconstruction": integrated_loudness(reconstruction, sample_rate),
        }
        for name, level in levels.items():
            if math.isnan(level):
                return Score.failed(f"the {name} holds samples that are not finite")
            if math.isinf(level):
                return Score.undefined(f"the {name} has no block of 0.4 s above -70 LUFS")
        return Score(abs(levels["reconstruction"] - levels["reference"]))


def integrated_loudness(samples: npt.NDArray[np.floating], sample_rate: int) -> float:
    """The integrated loudness in LUFS of (channels, time) at `sample_rate` hertz.

    Minus infinity where no block is above -70 LUFS, or where there is not one block; NaN where
    samples are not finite, or of more channels than have a weight.
    """
    import numpy as np
    import pyloudnorm

    channels, time = samples.shape
    steps = math.floor((time / sample_rate - BLOCK) / STEP + 1e-9)
    if channels > MOST_CHANNELS or not np.isfinite(samples).all():
        return math.nan
    if steps < 0:
        return -math.inf
    whole = samples[:, : math.ceil((BLOCK + STEP * steps) * sample_rate)]
    meter = pyloudnorm.Meter(sample_rate, filter_class="DeMan", block_size=BLOCK)
    # A last sample may be missing where a block is no whole number of samples.
    wide = np.zeros((math.ceil((BLOCK + STEP * steps) * sample_rate), channels))
    wide[: whole.shape[1]] = whole.T
    return float(meter.integrated_loudness(wide))


def loudness_difference(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`loudness_difference`: of one clip in LU, 0 and up.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz.
    """
    return score_clip(
        LoudnessBackend(),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
        rule=ChannelRule.JOINT,
    )


def backends(_key: str) -> dict[str, BackendFactory]:
    """How to build each backend of the one key, the first being the default."""
    return {"reference": LoudnessBackend}
