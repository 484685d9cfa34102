"""Alignment in time, of whole signals and of patches, by the correlation of their envelopes.

The upper envelope of x is |x̃ + i H{x̃}| + x̄, with x̄ the mean, x̃ = x − x̄ and H the Hilbert
transform over the signal's own length (a DFT whose bin k is turned by −90°; constant and Nyquist
bins drop out). The lag is the argument of the largest Σ_n r[n] d[n − lag] over all lags, the
smallest where several are equal; one beyond half of the reference counts as none.

A positive lag delays the reconstruction by zeros in front, a negative one drops its beginning.

Sources: Chinen et al. 2020; conventions as in visqol-python 3.8.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len


def envelope(signal: torch.Tensor) -> torch.Tensor:
    """Upper envelopes of signals (rows, time)."""
    mean = signal.mean(dim=-1, keepdim=True)
    centred = signal - mean
    spectrum = torch.fft.rfft(centred)
    spectrum[..., 0] = 0.0
    if signal.shape[-1] % 2 == 0:
        spectrum[..., -1] = 0.0
    # The quarter turn: (re, im) becomes (im, −re), up to the sign, which the modulus forgets.
    quadrature = torch.fft.irfft(spectrum.mul_(1j), n=signal.shape[-1])
    upper: torch.Tensor = torch.hypot(centred, quadrature, out=quadrature) + mean
    return upper


def correlation_length(samples: int) -> int:
    """Points of a fast DFT in which signals of up to so many samples correlate without wrap."""
    return int(next_fast_len(2 * samples - 1, real=True))


def spectrum(envelopes: torch.Tensor, points: int) -> torch.Tensor:
    """DFT of envelopes (rows, time), zero-padded to `points`."""
    bins: torch.Tensor = torch.fft.rfft(envelopes, n=points)
    return bins


def best_lags(
    reference: torch.Tensor, reconstruction: torch.Tensor, points: int, longest: int
) -> torch.Tensor:
    """Lags int64 (rows,) from `spectrum`s of envelopes of at most `longest` samples."""
    correlation = torch.fft.irfft(reference * reconstruction.conj(), n=points)
    reach = longest - 1
    later = correlation[:, : reach + 1].max(dim=-1)
    lags: torch.Tensor = later.indices
    if reach > 0:
        earlier = correlation[:, points - reach :].max(dim=-1)
        lags = torch.where(earlier.values >= later.values, earlier.indices - reach, lags)
    return lags


def usable_lag(lag: int, reference_samples: int) -> int:
    """The lag, or 0 where it exceeds half of the reference."""
    return lag if abs(lag) <= reference_samples / 2.0 else 0


def shift(signals: torch.Tensor, lags: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Signals (rows, time) delayed by their lags, padded to one length, and their lengths."""
    samples = signals.shape[-1]
    lengths = [samples + lag for lag in lags]
    if not any(lags):
        return signals, lengths
    out = signals.new_zeros((len(lags), max(lengths)))
    for row, lag in enumerate(lags):
        out[row, max(lag, 0) : lengths[row]] = signals[row, max(-lag, 0) :]
    return out, lengths


@dataclass(frozen=True)
class Overlap:
    """What two slices have in common once aligned.

    reference, reconstruction: where it begins in either, in samples; negative where the
    reconstruction is preceded by zeros. samples: its length.
    """

    reference: int
    reconstruction: int
    samples: int


def overlap(reference: int, reconstruction: int, lag: int, rate: int) -> Overlap:
    """The overlap of slices of so many samples at a lag.

    Where the delayed reconstruction is the longer one, both lose the lag at their beginning. The
    reference implementation carries the lag in seconds, so that it may lose a sample: `whole`.
    """
    delayed = reconstruction + lag
    whole = int(lag / float(rate) * rate)
    if reference < delayed and whole > 0:
        return Overlap(whole, whole - lag, min(reference, delayed) - whole)
    return Overlap(0, -lag, min(reference, delayed))
