"""Clips moved in time by any part of a sample, and what of them is then known.

A clip that is late by d + f samples (d whole, −½ ≤ f ≤ ½) is read d samples on, after each bin of
its discrete Fourier transform has been turned by e^{iωf}: the band-limited signal through its
samples, read between them. Without a fraction no sample is touched. What lies outside a clip is
taken as its mean, so that a level does not ring.

Samples that came from outside of the clip, and the first and last of it whose value between samples
hangs on what lies outside, are not known; `spans` tells which are. Where a clip breaks off at the
level y, interpolation is wrong by up to y/2πn at the nth sample from there. What is left of that
past `MARGIN` samples is 60 dB below three seconds of noise in 95 % of the band (40 in all of it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch

from rdbench.types import AudioBatch

MARGIN = 32
"""Samples at either end of a clip that are not known after a move by part of a sample."""


def advance(audio: AudioBatch, delays: Sequence[float]) -> AudioBatch:
    """Each clip earlier by its delay in samples, as long as before; zero where nothing is known.

    One delay for all channels of a clip. Clips of one length are moved together, so that each is
    what it would be alone.
    """
    moved = torch.zeros_like(audio.samples)
    for length, indices in by_length(audio.lengths):
        own = [delays[index] for index in indices]
        samples = audio.samples[indices, :, :length]
        if any(delay != round(delay) for delay in own):
            mean = samples.mean(-1, keepdim=True)
            size = fast_size(length + 2 * MARGIN)
            between = read_between(torch.fft.rfft(samples - mean, size), own, size, length) + mean
            fractions = torch.tensor([delay != round(delay) for delay in own])
            samples = torch.where(fractions.to(samples.device)[:, None, None], between, samples)
        moved[indices, :, :length] = read_on(samples, [round(delay) for delay in own])
    return AudioBatch(moved, audio.lengths, audio.sample_rate)


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


def leaves_half(lengths: torch.Tensor, delays: Sequence[float]) -> list[bool]:
    """Whether at least half of each clip is known after `advance`."""
    return [
        2 * (stop - start) >= length
        for (start, stop), length in zip(spans(lengths, delays), lengths.tolist(), strict=True)
    ]


def cut(audio: AudioBatch, parts: Sequence[tuple[int, int]]) -> AudioBatch:
    """The samples from `start` to before `stop` of each clip, one (start, stop) for each."""
    lengths = torch.tensor([stop - start for start, stop in parts], dtype=torch.int64)
    longest = int(lengths.max()) if len(parts) else 0
    samples = audio.samples.new_zeros((audio.clips, audio.channels, longest))
    for index, (start, stop) in enumerate(parts):
        samples[index, :, : stop - start] = audio.samples[index, :, start:stop]
    return AudioBatch(samples, lengths, audio.sample_rate)


def by_length(lengths: torch.Tensor) -> list[tuple[int, list[int]]]:
    """(length, indices of the clips that have it), in the order of clips."""
    found: dict[int, list[int]] = {}
    for index, length in enumerate(lengths.tolist()):
        found.setdefault(length, []).append(index)
    return list(found.items())


def read_between(
    spectrum: torch.Tensor, delays: Sequence[float], size: int, time: int
) -> torch.Tensor:
    """Samples t + f of each clip in the place of its samples t < time; f is its delay's fraction.

    spectrum: (clips, rows, bins), from transforms of `size` samples.
    """
    fraction = torch.tensor([delay - round(delay) for delay in delays], device=spectrum.device)
    phase = frequencies(spectrum, size) * fraction[:, None, None]
    turned = spectrum * torch.polar(torch.ones_like(phase), phase)
    moved: torch.Tensor = torch.fft.irfft(turned, size)
    return moved[..., :time]


def read_on(samples: torch.Tensor, whole: Sequence[int]) -> torch.Tensor:
    """Sample t + whole of each clip in the place of sample t; zero where there is none."""
    if not any(whole):
        return samples
    moved, time = torch.zeros_like(samples), samples.shape[-1]
    for index, lag in enumerate(whole):
        start, stop = max(0, -lag), min(time, time - lag)
        if stop > start:
            moved[index, :, start:stop] = samples[index, :, start + lag : stop + lag]
    return moved


def frequencies(spectrum: torch.Tensor, size: int) -> torch.Tensor:
    """Of the bins of a transform of `size` samples, in radians per sample, float32 (bins,)."""
    bins = torch.arange(spectrum.shape[-1], device=spectrum.device)
    return 2 * math.pi / size * bins


@cache
def fast_size(needed: int) -> int:
    """The next even length without a prime factor above 5, on which the FFT is quick.

    >>> fast_size(49601), fast_size(1)
    (50000, 2)
    """
    found: list[int] = []
    for fives in range(needed.bit_length()):
        for threes in range(needed.bit_length()):
            odd = 5**fives * 3**threes
            found.append(odd << max(1, (-(-needed // odd) - 1).bit_length()))
    return min(found, default=2)
