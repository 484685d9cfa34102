"""The long-term average spectrum: where it ends, and how it leans.

P[k] is the mean power spectrum of all frames and channels of a clip (Hann window of about 43 ms,
half overlapped), scaled so that a sinusoid at full scale peaks at 0 dB.

    bandwidth     = upper edge in hertz of the highest bin whose P is within 60 dB of the highest
                    P, and above -110 dB of full scale
    spectral_tilt = | a(ŝ) - a(s) |,  a the slope in dB per octave of the least-squares line through
                    the points (log2 f, 10 log10 P_f), P_f the mean of P over the third of an octave
                    around f = 125 Hz · 2^{n/3}, up to 8 kHz and to 0.4 times the rate

The long-term average spectrum and its slope are those of Löfqvist and Mandersson ("Long-time
average spectrum of speech and voice analysis", Folia Phoniatrica 39(5), 1987); the bandwidth is
akin to that of ITU-R BS.1387-1 (PEAQ), 2001, 4.4, which has an absolute threshold.

`bandwidth` needs no reference: it says up to where there is anything. That of a reconstruction is
compared with that of the reference, which is a system of its own (`identity`). Noise of a decoder
within 60 dB of the loudest bin counts as spectrum, and the window's skirt puts a steep edge up to
six bins too high (140 Hz at 48 kHz). White noise has the tilt 0 and pink noise
-3.01 dB per octave; P_f below -100 dB is lifted to that, so that a band which is gone has a level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rdbench.metrics.base import (
    BackendFactory,
    ChannelRule,
    Direction,
    MetricDefinition,
    Scope,
)
from rdbench.metrics.equal_lengths import EqualLengths, finite
from rdbench.metrics.one_clip import score_clip
from rdbench.metrics.spectra import magnitudes, window_of
from rdbench.types import Score

if TYPE_CHECKING:
    import torch

    from rdbench.metrics.one_clip import Clip

RANGE_DB = 60.0
SILENT_DB = -110.0
FLOOR_DB = -100.0
LOWEST, HIGHEST = 125.0, 8000.0  # hertz

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key="bandwidth",
        version=1,
        name="Bandwidth",
        unit="Hz",
        direction=Direction.HIGHER,
        lower=0.0,
        upper=math.inf,
        identity=math.nan,
        domains=(),
        sample_rate=None,
        minimum_seconds=0.1,
        needs_alignment=False,
        definition="the highest frequency at which the reconstruction's long-term average spectrum "
        f"is within {RANGE_DB:g} dB of its maximum",
        citation="akin to BandwidthTest of Recommendation ITU-R BS.1387-1, 2001, 4.4",
        channels=ChannelRule.JOINT,
        scope=Scope.CLIP_ALONE,
    ),
    MetricDefinition(
        key="spectral_tilt",
        version=1,
        name="Spectral tilt",
        unit="dB/octave",
        direction=Direction.LOWER,
        lower=0.0,
        upper=math.inf,
        identity=0.0,
        domains=(),
        sample_rate=None,
        minimum_seconds=0.1,
        needs_alignment=False,
        definition="absolute difference of the slopes of both long-term average spectra, in third "
        f"octaves from {LOWEST:g} Hz to {HIGHEST / 1000:g} kHz",
        citation="Löfqvist and Mandersson, Long-time average spectrum of speech and voice "
        "analysis, Folia Phoniatrica 39(5), 1987",
        channels=ChannelRule.JOINT,
    ),
)


@dataclass(frozen=True)
class LongTermSpectrum:
    """power: P, float64 (clips, bins). spacing: hertz from bin to bin."""

    power: torch.Tensor
    spacing: float


class _LongTerm(EqualLengths):
    tolerance = 1e-3

    def shortest(self, sample_rate: int) -> int:
        """One window."""
        return window_of(sample_rate)

    def features(self, samples: torch.Tensor, sample_rate: int) -> LongTermSpectrum:
        """The spectrum of each clip, float32 (clips, channels, time) at `sample_rate` hertz."""
        window = window_of(sample_rate)
        magnitude = magnitudes(samples, window, window // 2, center=False)
        power = (magnitude * (4 / window)).double().square().mean((1, 3))
        return LongTermSpectrum(power, sample_rate / window)


class BandwidthBackend(_LongTerm):
    """`bandwidth` as the module defines it."""

    def scores(
        self, reference: LongTermSpectrum | None, reconstruction: LongTermSpectrum
    ) -> Sequence[Score]:
        """One score per clip."""
        found = []
        for power in reconstruction.power:
            top = power.amax().item()
            least = max(top * 10 ** (-RANGE_DB / 10), 10 ** (SILENT_DB / 10))
            within = (power >= least).nonzero()
            if not math.isfinite(top):
                found.append(Score.failed("the reconstruction holds samples that are not finite"))
            elif not len(within):
                found.append(Score.undefined("the reconstruction is silent"))
            else:
                last = min(within[-1].item() + 0.5, len(power) - 1)  # the last bin is at its edge
                found.append(Score(last * reconstruction.spacing))
        return found


class SpectralTiltBackend(_LongTerm):
    """`spectral_tilt` as the module defines it."""

    def scores(
        self, reference: LongTermSpectrum, reconstruction: LongTermSpectrum
    ) -> Sequence[Score]:
        """One score per clip."""
        sides = {"reference": reference.power, "reconstruction": reconstruction.power}
        change = (_slopes(reconstruction) - _slopes(reference)).abs().tolist()
        found = []
        for index, value in enumerate(change):
            silent = [
                name for name, power in sides.items() if power[index].amax() < 10 ** (FLOOR_DB / 10)
            ]
            found.append(Score.undefined(f"the {silent[0]} is silent") if silent else finite(value))
        return found


def _slopes(spectrum: LongTermSpectrum) -> torch.Tensor:
    """Slopes in dB per octave, float64 (clips,)."""
    import torch

    power = spectrum.power
    bins = power.shape[-1]
    octaves, edges = _third_octaves(bins, spectrum.spacing)
    levels = torch.stack([power[:, start:stop].mean(-1) for start, stop in edges], -1)
    levels = 10 * levels.clamp(min=10 ** (FLOOR_DB / 10)).log10()
    centred = torch.tensor(octaves, dtype=torch.float64, device=power.device)
    centred = centred - centred.mean()
    return (levels * centred).sum(-1) / centred.square().sum()


@cache
def _third_octaves(
    bins: int, spacing: float
) -> tuple[tuple[float, ...], tuple[tuple[int, int], ...]]:
    """log2 of each centre in hertz, and its bins: first, and one past the last."""
    top = min(HIGHEST, 0.4 * 2 * (bins - 1) * spacing)
    count = math.floor(3 * math.log2(top / LOWEST) + 1e-9) + 1
    centres = [LOWEST * 2 ** (n / 3) for n in range(count)]
    edges = []
    for centre in centres:
        low, high = centre * 2 ** (-1 / 6) / spacing, centre * 2 ** (1 / 6) / spacing
        start = math.ceil(low)
        edges.append((start, min(max(start + 1, math.ceil(high)), bins)))
    return tuple(math.log2(centre) for centre in centres), tuple(edges)


def bandwidth(*, reconstruction: Clip, sample_rate: int) -> Score:
    """`bandwidth`: where the spectrum ends, in hertz.

    reconstruction: one clip, (time,) or (channels, time); sample_rate: hertz.
    """
    return score_clip(BandwidthBackend(), reconstruction=reconstruction, sample_rate=sample_rate)


def spectral_tilt(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`spectral_tilt`: difference of the slopes of both spectra, in dB per octave.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz.
    """
    return score_clip(
        SpectralTiltBackend(),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"torch": BandwidthBackend if key == "bandwidth" else SpectralTiltBackend}
