"""What becomes of the stereo image: levels and correlation between the two channels.

With L and R the STFTs of the channels (Hann window of about 43 ms, half overlapped), B one of 20
triangular bands on Slaney's mel scale up to half of the rate, and T eight frames in a row, each
tile (B, T) has

    level        d = 10 log10( (Σ|L|² + δ) / (Σ|R|² + δ) )          in dB, cut to ±40
    correlation  r = Σ Re(L R*) / √( (Σ|L|² + δ) (Σ|R|² + δ) )      -1 … 1

with sums over the tile, weighted by the band. They are the level difference and the coherence that
parametric stereo transmits (Breebaart, van de Par, Kohlrausch and Schuijers, "Parametric coding of
stereo audio", EURASIP JASP 2005(9); Faller and Baumgarte, "Binaural cue coding", IEEE TSAP 11(6),
2003), the coherence with its sign, so that a channel of the other polarity is seen.

    stereo_level       = mean over tiles of | d(ŝ) - d(s) |
    stereo_correlation = mean over tiles of | r(ŝ) - r(s) |

over tiles in which the reference is within 50 dB of its loudest tile. δ is -100 dB of a sinusoid at
full scale: silence lies in the middle and is not correlated.

Both know nothing of gain, and hardly anything of delays that the channels share. A reconstruction
that was made mono scores the mean |d|, and 1 - r of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from rdbench.metrics.base import BackendFactory, ChannelRule, Direction, MetricDefinition
from rdbench.metrics.equal_lengths import EqualLengths, finite
from rdbench.metrics.one_clip import score_clip
from rdbench.metrics.spectra import magnitudes, mel_bank, window_of
from rdbench.types import Score

if TYPE_CHECKING:
    import torch

    from rdbench.metrics.one_clip import Clip

BANDS = 20
FRAMES = 8
MOST_DB = 40.0
RANGE_DB = 50.0
FLOOR_DB = -100.0

_CITATION = (
    "after Breebaart et al., Parametric coding of stereo audio, EURASIP Journal on Applied Signal "
    "Processing 2005(9)"
)
_WHERE = f"mean over {BANDS} mel bands and tiles of {FRAMES} frames, of two channels"


def _definition(key: str, name: str, unit: str, upper: float, what: str) -> MetricDefinition:
    return MetricDefinition(
        key=key,
        version=1,
        name=name,
        unit=unit,
        direction=Direction.LOWER,
        lower=0.0,
        upper=upper,
        identity=0.0,
        domains=(),
        sample_rate=None,
        minimum_seconds=0.1,
        needs_alignment=False,
        definition=f"{what}, {_WHERE}; other layouts are undefined",
        citation=_CITATION,
        channels=ChannelRule.JOINT,
    )


DEFINITIONS: tuple[MetricDefinition, ...] = (
    _definition(
        "stereo_level",
        "Stereo level",
        "dB",
        2 * MOST_DB,
        "absolute change of the level difference between channels",
    ),
    _definition(
        "stereo_correlation",
        "Stereo correlation",
        "",
        2.0,
        "absolute change of the correlation between channels",
    ),
)


@dataclass(frozen=True)
class _Image:
    """Of tiles, float64 (clips, tiles): level in dB, correlation, and power of both channels.

    None: not two channels, of which there are `channels`.
    """

    level: torch.Tensor | None
    correlation: torch.Tensor
    power: torch.Tensor
    channels: int


class StereoBackend(EqualLengths):
    """`stereo_level` or `stereo_correlation` as the module defines them."""

    tolerance = 1e-4
    at_once = 2**20

    def __init__(self, what: Literal["level", "correlation"]) -> None:
        self.what = what

    def shortest(self, sample_rate: int) -> int:
        """One window."""
        return window_of(sample_rate)

    def features(self, samples: torch.Tensor, sample_rate: int) -> _Image:
        """The image of each clip."""
        import torch

        clips, channels, _ = samples.shape
        if channels != 2:
            nothing = samples.new_zeros((len(samples), 0))
            return _Image(None, nothing, nothing, channels)
        left, right = samples.unbind(1)
        # Re(L R*) is (|L + R|² - |L - R|²) / 4.
        signals = torch.stack([left, right, left + right, left - right], 1)
        window = window_of(sample_rate)
        power = (magnitudes(signals, window, window // 2, center=False) * (4 / window)).square_()
        bank = mel_bank(sample_rate, window, BANDS, str(samples.device), norm=None)
        bands = (power.transpose(-1, -2) @ bank).double()  # (clips, signals, frames, bands)
        tiles = torch.nn.functional.pad(bands, (0, 0, 0, -bands.shape[2] % FRAMES))
        tiles = tiles.reshape(clips, 4, -1, FRAMES, BANDS).sum(3).flatten(2)
        floor = 10 ** (FLOOR_DB / 10)
        x, y = tiles[:, 0] + floor, tiles[:, 1] + floor
        level = (10 * (x / y).log10()).clamp(-MOST_DB, MOST_DB)
        correlation = (tiles[:, 2] - tiles[:, 3]) / (4 * (x * y).sqrt())
        return _Image(level, correlation, tiles[:, :2].sum(1), channels)

    def scores(self, reference: _Image, reconstruction: _Image) -> Sequence[Score]:
        """One score per clip."""
        if reference.level is None or reconstruction.level is None:
            count = reconstruction.channels
            reason = f"{count} channel{'s' * (count != 1)}, and a stereo image is that of two"
            return [Score.undefined(reason)] * len(reference.power)
        change = (getattr(reconstruction, self.what) - getattr(reference, self.what)).abs()
        power = reference.power
        loudest = power.amax(-1, keepdim=True)
        heard = (power >= loudest * 10 ** (-RANGE_DB / 10)) & (loudest > 10 ** (FLOOR_DB / 10))
        found = []
        for row, used, top in zip(change, heard, loudest[:, 0].tolist(), strict=True):
            if math.isfinite(top) and not used.any():
                found.append(Score.undefined("the reference is silent"))
            else:
                found.append(finite(row[used].mean().item()))
        return found


def stereo_level(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`stereo_level`: how far sources have moved, in dB, 0 to 80.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz.
    """
    return score_clip(
        StereoBackend("level"),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def stereo_correlation(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`stereo_correlation`: how much wider or narrower it sounds, 0 to 2.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz.
    """
    return score_clip(
        StereoBackend("correlation"),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"torch": partial(StereoBackend, "level" if key == "stereo_level" else "correlation")}
