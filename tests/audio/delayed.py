"""Signals with a delay that is known to any part of a sample, made without rdbench's own shift."""

from __future__ import annotations

import math

import torch

from rdbench.types import AudioBatch


def pair(
    samples: int,
    delay: float,
    *,
    seed: int = 0,
    channels: int = 1,
    bottom: float = 0.0,
    top: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise from `bottom` to `top` of half the rate, and the same later: each (channels, samples).

    Both are cut from one period of a signal that goes on: what leaves the one at an end is not zero
    outside of it, and the shift is exact.
    """
    generator = torch.Generator().manual_seed(seed)
    period = 2 * samples + 2 * math.ceil(abs(delay))
    noise = torch.randn(channels, period, generator=generator, dtype=torch.float64)
    spectrum = torch.fft.rfft(0.1 * noise)
    bins = torch.arange(spectrum.shape[-1])
    nyquist = spectrum.shape[-1] - 1
    spectrum = spectrum * ((bins >= bottom * nyquist) & (bins < top * nyquist))
    turn = torch.exp(-2j * math.pi / period * delay * bins)
    start = samples // 2
    both = (torch.fft.irfft(one, period) for one in (spectrum, spectrum * turn))
    first, second = (one[:, start : start + samples].float() for one in both)
    return first, second


def batch_of(*clips: torch.Tensor, rate: int, fill: float = 0.0) -> AudioBatch:
    """Clips (channels, time) of any length in one batch, padded with `fill`."""
    lengths = torch.tensor([clip.shape[-1] for clip in clips])
    samples = torch.full((len(clips), clips[0].shape[0], int(lengths.max())), fill)
    for index, clip in enumerate(clips):
        samples[index, :, : clip.shape[-1]] = clip
    return AudioBatch(samples, lengths, rate)
