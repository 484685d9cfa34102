"""Short-time spectra and mel bands, as the metrics that measure them share them."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


def magnitudes(samples: torch.Tensor, window: int, hop: int, *, center: bool) -> torch.Tensor:
    """|STFT| of (clips, channels, time): (clips, channels, bins, frames)."""
    import torch

    clips, channels, time = samples.shape
    spectrum = torch.stft(
        samples.reshape(clips * channels, time),
        n_fft=window,
        hop_length=hop,
        window=_hann(window, str(samples.device)),
        center=center,
        pad_mode="reflect",
        return_complex=True,
    )
    magnitude: torch.Tensor = spectrum.abs()
    return magnitude.reshape(clips, channels, *magnitude.shape[1:])


@cache
def _hann(window: int, device: str) -> torch.Tensor:
    import torch

    return torch.hann_window(window, dtype=torch.float64).float().to(device)


@cache
def mel_bank(
    rate: int, window: int, bands: int, device: str, norm: Literal["slaney"] | None = "slaney"
) -> torch.Tensor:
    """Triangles on Slaney's mel scale over 0 … rate/2, float32 (bins, bands).

    norm: "slaney" gives each the same area; None the same height, 1.
    """
    import warnings

    from torchaudio.functional import melscale_fbanks

    with warnings.catch_warnings():
        # At 48 kHz the lowest of five bands falls between two bins: in DAC's loss it is empty too.
        warnings.simplefilter("ignore", UserWarning)
        bank: torch.Tensor = melscale_fbanks(
            window // 2 + 1, 0.0, rate / 2, bands, rate, norm=norm, mel_scale="slaney"
        )
    return bank.to(device)


def window_of(sample_rate: int) -> int:
    """The power of two nearest to 43 ms at `sample_rate` hertz: 2048 samples at 44.1 and 48 kHz."""
    return int(2 ** round(math.log2(0.043 * sample_rate)))
