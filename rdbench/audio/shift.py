"""Clips moved in time by any part of a sample, and what of them is then known.

A clip that is late by d + f samples (d whole, −½ ≤ f ≤ ½) is read d samples on, after each bin of
its discrete Fourier transform has been turned by e^{iωf}: the band-limited signal through its
samples, read between them. Without a fraction no sample is touched. What lies outside a clip is
taken as its mean, so that a level does not ring.

Samples that came from outside of the clip, and the first and last of it whose value between samples
hangs on what lies outside, are not known; `spans` tells which are. Where a clip breaks off at the
level y, interpolation is wrong by y/2πn at the nth sample from there, so that past `MARGIN` samples
the error of a clip of a second has less than 10⁻¹⁰ of its energy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch

from rdbench.audio.resample import masked
from rdbench.types import AudioBatch

MARGIN = 32
"""Samples at either end of a clip that are not known after a move by part of a sample."""


def advance(audio: AudioBatch, delays: Sequence[float]) -> AudioBatch:
    """Each clip earlier by its delay in samples, as long as before; zero where nothing is known.

    One delay for all channels of a clip. A clip is what it would be alone.
    """
    whole, fraction = split(delays, audio.samples.device)
    samples = masked(audio.samples, audio.lengths)
    if bool((fraction != 0).any()):
        mean = means(samples, audio.lengths)
        size = fast_size(samples.shape[-1] + 2 * MARGIN)
        spectrum = torch.fft.rfft(masked(samples - mean, audio.lengths), size)
        between = torch.fft.irfft(turned(spectrum, fraction, size), size) + mean
        between = between[..., : samples.shape[-1]]
        samples = torch.where(fraction[:, None, None] != 0, between, samples)
    return AudioBatch(read_on(samples, whole, audio.lengths), audio.lengths, audio.sample_rate)


def spans(lengths: torch.Tensor, delays: Sequence[float]) -> list[tuple[int, int]]:
    """By clip, the first sample that is known after `advance` and the one past the last.

    Empty spans start and stop at 0.
    """
    found = []
    for length, delay in zip(lengths.tolist(), delays, strict=True):
        whole = round(delay)
        margin = MARGIN if delay != whole else 0
        start, stop = max(0, -whole) + margin, length - max(0, whole) - margin
        found.append((start, stop) if stop > start else (0, 0))
    return found


def cut(audio: AudioBatch, parts: Sequence[tuple[int, int]]) -> AudioBatch:
    """The samples from `start` to before `stop` of each clip, one (start, stop) for each."""
    lengths = torch.tensor([stop - start for start, stop in parts], dtype=torch.int64)
    starts = torch.tensor([start for start, _ in parts], device=audio.samples.device)
    longest = int(lengths.max()) if len(parts) else 0
    moved = read_on(audio.samples, starts, audio.lengths)[..., :longest]
    return AudioBatch(masked(moved, lengths), lengths, audio.sample_rate)


def split(delays: Sequence[float], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Delays as the nearest whole samples, int64, and the rest, float32, each (clips,)."""
    whole = [round(delay) for delay in delays]
    rest = [delay - samples for delay, samples in zip(delays, whole, strict=True)]
    return torch.tensor(whole, device=device), torch.tensor(rest, device=device)


def turned(spectrum: torch.Tensor, fraction: torch.Tensor, size: int) -> torch.Tensor:
    """The spectrum (clips, channels, bins) of `size` samples, each clip earlier by its fraction."""
    phase = frequencies(spectrum, size) * fraction[:, None, None]
    return spectrum * torch.polar(torch.ones_like(phase), phase)


def frequencies(spectrum: torch.Tensor, size: int) -> torch.Tensor:
    """Of the bins of a transform of `size` samples, in radians per sample, float32 (bins,)."""
    bins = torch.arange(spectrum.shape[-1], device=spectrum.device)
    return 2 * math.pi / size * bins


def read_on(samples: torch.Tensor, whole: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Sample t + whole (clips,) of each clip in the place of sample t; zero outside of the clip."""
    if not bool(whole.any()):
        return masked(samples, lengths)
    time = samples.shape[-1]
    index = torch.arange(time, device=samples.device) + whole[:, None]
    inside = (index >= 0) & (index < lengths.to(samples.device)[:, None])
    index = index.clamp(0, max(time - 1, 0))[:, None].expand_as(samples)
    return torch.where(inside[:, None], samples.gather(-1, index), 0.0)


def means(samples: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Of each channel over its clip's own samples, past which it is zero: (clips, channels, 1)."""
    counts = lengths.to(samples.device).clamp(min=1)[:, None, None]
    return samples.sum(-1, keepdim=True) / counts


@cache
def fast_size(needed: int) -> int:
    """The next even length without a prime factor above 5, on which the FFT is quick.

    >>> fast_size(49601), fast_size(1)
    (50000, 2)
    """
    found = []
    for fives in range(needed.bit_length()):
        for threes in range(needed.bit_length()):
            odd = 5**fives * 3**threes
            found.append(odd << max(1, (-(-needed // odd) - 1).bit_length()))
    return min(found, default=2)
