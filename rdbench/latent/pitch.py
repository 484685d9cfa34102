"""The fundamental frequency of a voice, by normalised cross-correlation.

For frames of W = 40 ms every 10 ms and lags τ between 1/500 and 1/60 s,

    φ(τ) = Σ x(n) x(n + τ) / √(Σ x(n)² Σ x(n + τ)²)

(Talkin 1995, "A robust algorithm for pitch tracking (RAPT)"). F0 is the inverse of the least lag
among the local maxima of φ that come within 0.1 of the largest, refined by a parabola. A frame is
voiced where φ is at least 0.6 there, and its level within 30 dB of the loudest frame's.

Made for the ratio of two tracks of one utterance, where its octave errors are seldom and a
median leaves them out; it is no tracker for music or for several voices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LOWEST, HIGHEST = 60.0, 500.0
"""Hertz."""
WINDOW, HOP = 0.040, 0.010
"""Seconds."""
VOICED = 0.6
FEWEST_FRAMES = 5
"""Voiced in both tracks, below which no change is told."""
_SLACK = 0.1
_QUIET = 1e-3  # of the loudest frame's power


def track(samples: NDArray[np.float32], sample_rate: int) -> Floats:
    """F0 in hertz, (frames,), of samples (channels, time); NaN where there is no voice.

    Channels are averaged. Empty for what is shorter than a frame and the longest lag.
    """
    wave = samples.astype(np.float64).mean(axis=0)
    window, hop = round(WINDOW * sample_rate), round(HOP * sample_rate)
    least, most = math.floor(sample_rate / HIGHEST), math.ceil(sample_rate / LOWEST)
    reach = most + 1
    if len(wave) < window + reach:
        return np.empty(0)
    rows = np.lib.stride_tricks.sliding_window_view(wave, window + reach)[::hop]
    similar, power = _correlation(rows, window, reach)
    voiced = power > _QUIET * power.max(initial=0.0)
    found = [
        _peak(row, least, most) if loud else math.nan
        for row, loud in zip(similar, voiced, strict=True)
    ]
    return sample_rate / np.array(found)


def change(before: Floats, after: Floats) -> float:
    """The median change in semitones over frames that both tracks have voiced; NaN for few."""
    frames = min(len(before), len(after))
    ratios = 12.0 * np.log2(after[:frames] / before[:frames])
    told = ratios[np.isfinite(ratios)]
    return float(np.median(told)) if len(told) >= FEWEST_FRAMES else math.nan


def middle(found: Floats) -> float:
    """The median of a track in hertz; NaN where too little of it is voiced."""
    told = found[np.isfinite(found)]
    return float(np.median(told)) if len(told) >= FEWEST_FRAMES else math.nan


def _correlation(rows: Floats, window: int, reach: int) -> tuple[Floats, Floats]:
    """φ at the lags 0 … reach, (frames, reach + 1), and the power of each frame."""
    size = 2 ** math.ceil(math.log2(rows.shape[1] + window))
    spectrum = np.fft.rfft(rows, size)
    products = np.fft.irfft(np.conj(np.fft.rfft(rows[:, :window], size)) * spectrum, size)
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(np.square(rows), axis=1)], axis=1)
    energy = np.maximum(total[:, window:] - total[:, : reach + 1], 0.0)
    scale = np.sqrt(energy[:, :1] * energy)
    with np.errstate(divide="ignore", invalid="ignore"):
        similar = np.where(scale > 0, products[:, : reach + 1] / scale, 0.0)
    return similar, energy[:, 0]


def _peak(similar: Floats, least: int, most: int) -> float:
    """The lag of a period in samples, NaN where the frame has no voice."""
    lags = np.arange(least, most + 1)
    here, before, after = similar[lags], similar[lags - 1], similar[lags + 1]
    tops = np.flatnonzero((here >= before) & (here > after))
    if not len(tops) or here[tops].max() < VOICED:
        return math.nan
    place = tops[here[tops] >= here[tops].max() - _SLACK][0]
    bend = before[place] - 2.0 * here[place] + after[place]
    shift = 0.5 * (before[place] - after[place]) / bend if bend < 0 else 0.0
    return float(lags[place] + shift)
