"""Distances between spectra: DAC's two training losses, and the log-spectral distance.

With |X| the magnitude of an STFT (Hann window of w samples, hop w/4, frames centred on the
samples 0, w/4, …, the clip reflected at its ends) and M the Slaney-normalized mel filterbank over
0 … rate/2 on Slaney's scale, as in librosa:

    mel_dac  = Σ_w  mean | log10 max(M_w|X|, ε) - log10 max(M_w|Y|, ε) |
               w = 32, 64, …, 2048 with 5, 10, …, 320 bands
    stft_dac = Σ_w  mean | log10 max(|X|, ε)² - log10 max(|Y|, ε)² |  +  mean | |X| - |Y| |
               w = 2048, 512

with ε = 1e-5 and means over channels, frames and bins. They equal `MelSpectrogramLoss` and
`MultiScaleSTFTLoss` of descript-audio-codec under the settings of its training (`conf/base.yml`),
not under the class defaults, which give other values. Kumar et al., "High-fidelity audio
compression with improved RVQGAN", NeurIPS 2023 (arXiv 2306.06546). Mel bands depend on the sample
rate, hence the rate in the key.

The log-spectral distance (Gray and Markel, "Distance measures for speech processing", IEEE TASSP
24(5), 1976) of frames t and bins k is here

    lsd = mean_t sqrt( mean_k ( 10 log10 max(P, δ) - 10 log10 max(Q, δ) )² )   in dB

with P and Q the power spectra of frames that lie wholly within the clip (Hann window of 2048
samples, hop 512, at the protocol's rate; a last part shorter than a hop is left out), scaled so
that a sinusoid at full scale peaks at 0 dB, and a floor δ of -100 dB. The floor gives digital
silence a spectrum and, 26 dB above the rounding noise of 16-bit audio, keeps that noise out.

None of them needs alignment: magnitudes hardly know a fraction of a sample (it moves `mel_dac` of
Opus, half a sample off, by 1 %), and the losses that papers report are taken as decoded. A delay of
16 samples alone gives `mel_dac_16k` 0.3 to 0.5, so that a codec must declare what it delays.

Clips are transformed in groups of exactly equal length: no value depends on padding or on the
other clips. What is kept of a reference takes about 18 (mel), 16 (STFT) and 8 (LSD) bytes for
each of its samples. Channels have equally many values, so the mean over channels is the joint mean.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition
from rdbench.metrics.equal_lengths import EqualLengths, finite
from rdbench.metrics.one_clip import score_clip
from rdbench.metrics.spectra import magnitudes, mel_bank
from rdbench.types import Score

if TYPE_CHECKING:
    import torch

    from rdbench.metrics.one_clip import Clip

RATES = {"16k": 16000, "24k": 24000, "44k": 44100, "48k": 48000}
MEL_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
MEL_BANDS = (5, 10, 20, 40, 80, 160, 320)
STFT_WINDOWS = (2048, 512)
CLAMP = 1e-5

LSD_WINDOW = 2048
LSD_HOP = 512
LSD_FLOOR_DB = -100.0

# Reflection by half a window needs one sample more than that half.
_SHORTEST_REFLECTED = max(*MEL_WINDOWS, *STFT_WINDOWS) // 2 + 1

# Transformed at once: the shortest window makes 17 complex bins of every 8 samples, and larger
# parts leave the caches of a CPU (2**22 took 1.4 times as long).
_SAMPLES = 2**20

_CITATION = (
    "Kumar et al., High-fidelity audio compression with improved RVQGAN, NeurIPS 2023, "
    "arXiv 2306.06546; settings: descript-audio-codec, conf/base.yml"
)


def _definition(
    key: str,
    name: str,
    definition: str,
    *,
    rate: int | None,
    citation: str,
    unit: str = "",
) -> MetricDefinition:
    return MetricDefinition(
        key=key,
        version=1,
        name=name,
        unit=unit,
        direction=Direction.LOWER,
        lower=0.0,
        upper=math.inf,
        identity=0.0,
        domains=(),
        sample_rate=rate,
        minimum_seconds=_SHORTEST_REFLECTED / rate if rate else 0.0,
        needs_alignment=False,
        definition=definition,
        citation=citation,
    )


DEFINITIONS: tuple[MetricDefinition, ...] = (
    *(
        _definition(
            f"mel_dac_{label}",
            f"Mel distance (DAC, {rate / 1000:g} kHz)",
            "sum over seven windows (32 to 2048 samples) of the mean absolute difference of log10 "
            f"mel magnitudes at {rate} Hz, as in DAC's training",
            rate=rate,
            citation=_CITATION,
        )
        for label, rate in RATES.items()
    ),
    *(
        _definition(
            f"stft_dac_{label}",
            f"STFT distance (DAC, {rate / 1000:g} kHz)",
            "sum over two windows (2048 and 512 samples) of the mean absolute differences of log10 "
            f"power and of magnitude at {rate} Hz, as in DAC's training",
            rate=rate,
            citation=_CITATION,
        )
        for label, rate in RATES.items()
    ),
    _definition(
        "lsd",
        "Log-spectral distance",
        f"mean over frames of the RMS over bins of the difference of log power spectra (Hann "
        f"window {LSD_WINDOW}, hop {LSD_HOP}, floor {LSD_FLOOR_DB:g} dB of full scale); clips of "
        f"fewer than {LSD_WINDOW} samples are undefined",
        rate=None,
        unit="dB",
        citation="Gray and Markel, Distance measures for speech processing, IEEE TASSP 24(5), 1976",
    ),
)


class _SpectralDistance(EqualLengths):
    """A sum over windows of distances between spectral features.

    rate: the only sample rate it takes, in hertz, or None. longest: samples that a clip needs.
    """

    tolerance = 1e-4
    at_once = _SAMPLES

    def __init__(self, *, rate: int | None, longest: int) -> None:
        self.rate = rate
        self.longest = longest

    def shortest(self, sample_rate: int) -> int:
        """Samples of the longest window, or what its reflection takes."""
        return self.longest

    def features(self, samples: torch.Tensor, sample_rate: int) -> list[torch.Tensor]:
        """One feature per window, (clips, …); raises ValueError for another rate than its own."""
        if self.rate not in (None, sample_rate):
            raise ValueError(f"defined at {self.rate} Hz, not {sample_rate} Hz")
        return self._features(samples)

    @abstractmethod
    def _features(self, samples: torch.Tensor) -> list[torch.Tensor]:
        """One feature per window of (clips, channels, time)."""

    @abstractmethod
    def _distance(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        """Distance of two features of one window, float64 (clips,)."""

    def scores(
        self, reference: list[torch.Tensor], reconstruction: list[torch.Tensor]
    ) -> list[Score]:
        """One distance per clip, joint over its channels."""
        import torch

        parts = [self._distance(x, y) for x, y in zip(reference, reconstruction, strict=True)]
        return [finite(value) for value in torch.stack(parts).sum(0).tolist()]


class MelDistance(_SpectralDistance):
    """`mel_dac_*` as the module defines it."""

    def __init__(self, rate: int) -> None:
        super().__init__(rate=rate, longest=_SHORTEST_REFLECTED)
        self._rate = rate

    def _features(self, samples: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for window, bands in zip(MEL_WINDOWS, MEL_BANDS, strict=True):
            magnitude = magnitudes(samples, window, window // 4, center=True)
            bank = mel_bank(self._rate, window, bands, str(samples.device))
            features.append((magnitude.transpose(-1, -2) @ bank).clamp_(min=CLAMP).log10_())
        return features

    def _distance(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        return _mean_absolute(reference - reconstruction)


class StftDistance(_SpectralDistance):
    """`stft_dac_*` as the module defines it."""

    def __init__(self, rate: int) -> None:
        super().__init__(rate=rate, longest=_SHORTEST_REFLECTED)

    def _features(self, samples: torch.Tensor) -> list[torch.Tensor]:
        return [magnitudes(samples, window, window // 4, center=True) for window in STFT_WINDOWS]

    def _distance(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        # Logarithms are cheap and magnitudes are large, so the reference keeps only the latter.
        logs = [x.clamp(min=CLAMP).square_().log10_() for x in (reference, reconstruction)]
        return _mean_absolute(logs[0].sub_(logs[1])) + _mean_absolute(reference - reconstruction)


class LogSpectralDistance(_SpectralDistance):
    """`lsd` as the module defines it."""

    def __init__(self) -> None:
        super().__init__(rate=None, longest=LSD_WINDOW)

    def _features(self, samples: torch.Tensor) -> list[torch.Tensor]:
        magnitude = magnitudes(samples, LSD_WINDOW, LSD_HOP, center=False)
        full_scale = LSD_WINDOW / 4  # half of the window's sum: a unit sinusoid on a bin
        floor = 10 ** (LSD_FLOOR_DB / 20)
        return [(magnitude / full_scale).clamp_(min=floor).log10_().mul_(20)]

    def _distance(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        frames = (reference - reconstruction).square_().mean(dim=-2).sqrt_()
        return frames.double().flatten(1).mean(dim=1)


def mel_distance(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`mel_dac_16k`, `mel_dac_24k`, `mel_dac_44k`, `mel_dac_48k`: the distance at any rate.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz. 0 and up, joint over channels; the keys are those of the rates that they name.
    """
    return score_clip(
        MelDistance(sample_rate),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def stft_distance(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`stft_dac_16k`, `stft_dac_24k`, `stft_dac_44k`, `stft_dac_48k`: the same of spectra.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz. 0 and up, joint over channels.
    """
    return score_clip(
        StftDistance(sample_rate),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def log_spectral_distance(*, reference: Clip, reconstruction: Clip) -> Score:
    """`lsd`: log-spectral distance in dB, 0 and up, joint over channels.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time).
    """
    return score_clip(LogSpectralDistance(), reconstruction=reconstruction, reference=reference)


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    if key == "lsd":
        return {"torch": LogSpectralDistance}
    rate = RATES[key.rpartition("_")[2]]
    return {"torch": partial(MelDistance if key.startswith("mel_") else StftDistance, rate)}


def _mean_absolute(difference: torch.Tensor) -> torch.Tensor:
    """Mean of |difference| per clip, summed in float64: (clips, …) to (clips,). Overwrites it."""
    import torch

    return difference.abs_().flatten(1).mean(dim=1, dtype=torch.float64)
