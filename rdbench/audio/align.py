"""The delay that is left between a reference and its reconstruction, by cross-correlation.

    r[d] = Σ_channels Σ_t x[t] · y[t + d],   |d| ≤ max_seconds · rate,   delay = argmax r[d]

with the mean of each channel removed, over each clip's own length (Knapp & Carter, "The
generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24(4), 1976).

No whitening (GCC-PHAT): a codec empties whole bands or fills them with noise, and whitening would
give those bands the weight of the ones that carry the signal. Plain correlation weighs a band by
the energy that both sides have in it.

Polarity: a codec that turns the waveform over must not look late by half a period of its loudest
tone, and one that does not must not look turned over because of it. The largest positive peak is
taken unless a negative one is larger by a tenth.
"""

from __future__ import annotations

import torch

from rdbench.audio.resample import masked
from rdbench.types import AudioBatch

VERSION = 1
"""Raised when delays change."""

MAX_SECONDS = 0.1
_INVERTED = 1.1  # by how much a negative peak must exceed the positive one
_UNRELATED = 0.1  # coefficient under which no lag means anything
_SILENT = 1e-10  # mean square under which there is nothing to align (−100 dBFS)


def residual_delay(
    *, reference: AudioBatch, reconstruction: AudioBatch, max_seconds: float = MAX_SECONDS
) -> list[int | None]:
    """Whole samples by which each reconstruction is late (negative: early).

    One entry per clip, within ±max_seconds and never more than the clip's length. None where
    either side is silent, and where no lag has a correlation coefficient of 0.1, as with unrelated
    noise: there is no delay to speak of. Both batches have one rate and as many clips and
    channels, else ValueError.
    """
    _check_alike(reference, reconstruction)
    rate = reference.sample_rate
    time = max(reference.samples.shape[-1], reconstruction.samples.shape[-1])
    if time == 0 or reference.clips == 0:
        return [None] * reference.clips
    reach = min(round(max_seconds * rate), time - 1)
    x, y = _centred(reference), _centred(reconstruction)
    size = _fast_size(time + reach)
    spectrum = torch.fft.rfft(x, size).conj() * torch.fft.rfft(y, size)
    r = torch.fft.irfft(spectrum.sum(1), size)
    lags = _nearest_first(reach, r.device)
    r = r[:, lags % size]  # a tie goes to the smaller delay: argmax takes the first
    energy = (x.square().sum((1, 2)) * y.square().sum((1, 2))).sqrt()
    upright, inverted = r.max(-1), (-r).max(-1)
    flipped = inverted.values > _INVERTED * upright.values
    peak = torch.where(flipped, inverted.values, upright.values)
    delay = lags[torch.where(flipped, inverted.indices, upright.indices)]
    related = (peak > _UNRELATED * energy) & _audible(x, reference) & _audible(y, reconstruction)
    found = zip(delay.tolist(), related.tolist(), strict=True)
    return [samples if certain else None for samples, certain in found]


def _check_alike(reference: AudioBatch, reconstruction: AudioBatch) -> None:
    for what in ("sample_rate", "clips", "channels"):
        one, other = getattr(reference, what), getattr(reconstruction, what)
        if one != other:
            raise ValueError(f"{what} of reference ({one}) and reconstruction ({other}) differ")


def _centred(batch: AudioBatch) -> torch.Tensor:
    """Float32 samples without their mean, zero past each clip's length."""
    samples = masked(batch.samples.float(), batch.lengths)
    lengths = batch.lengths.to(samples.device).clamp(min=1)
    mean = samples.sum(-1, keepdim=True) / lengths[:, None, None]
    return masked(samples - mean, batch.lengths)


def _audible(samples: torch.Tensor, batch: AudioBatch) -> torch.Tensor:
    lengths = batch.lengths.to(samples.device).clamp(min=1)
    return samples.square().sum(-1).amax(-1) > _SILENT * lengths


def _nearest_first(reach: int, device: torch.device) -> torch.Tensor:
    """0, 1, −1, 2, −2, … ±reach, int64 (2 · reach + 1,)."""
    steps = torch.arange(2 * reach + 1, device=device)
    half = (steps + 1) // 2
    return torch.where(steps % 2 == 1, half, -half)


def _fast_size(needed: int) -> int:
    """The next length of the form 2^a or 3 · 2^a, on which the FFT is quick."""
    power = 1 << (needed - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= needed else power
