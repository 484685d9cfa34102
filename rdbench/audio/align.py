"""The delay that is left between a reference and its reconstruction, by cross-correlation.

    r(τ) = Σ_channels Σ_t x[t] · y(t + τ),   |τ| ≤ max_seconds · rate,   delay = argmax r(τ)

with the mean of each channel removed, over each clip's own length (Knapp & Carter, "The
generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24(4), 1976). The
parabola through the three largest values gives a fraction of a sample, and least squares the rest
of it, over the samples that both sides have,

    x[t] ≈ a · (y(t + delay) + δ · y′(t + delay)),   delay ← delay + δ

with y and its derivative y′ read between samples. Correlation alone would not do: what leaves the
clip at its ends draws the peak towards zero, by a quarter of a sample where the bass is loud. The
result is the delay at which a scaled copy of one fits the other best, and is exact for a pure delay.

No whitening (GCC-PHAT): a codec empties whole bands or fills them with noise, and whitening would
give those bands the weight of the ones that carry the signal. Plain correlation weighs a band by
the energy that both sides have in it.

Polarity: a codec that turns the waveform over must not look late by half a period of its loudest
tone, and one that does not must not look turned over because of it. The largest positive peak is
taken unless a negative one is larger by a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rdbench.audio.resample import masked
from rdbench.audio.shift import (
    MARGIN,
    fast_size,
    frequencies,
    means,
    read_on,
    spans,
    split,
    turned,
)
from rdbench.types import AudioBatch

VERSION = 2
"""Raised when delays change."""

MAX_SECONDS = 0.1
DIGITS = 3
"""Decimals of a sample: what is finer may be the rounding of the transforms."""
_INVERTED = 1.1  # by how much a negative peak must exceed the positive one
_UNRELATED = 0.1  # coefficient under which no lag means anything
_SILENT = 1e-10  # mean square under which there is nothing to align (−100 dBFS)
_LARGE_STEP = 0.1  # of a sample: what is left is at most two thirds of a step's cube
_STEPS = 4  # at most; one is the rule


def residual_delay(
    *, reference: AudioBatch, reconstruction: AudioBatch, max_seconds: float = MAX_SECONDS
) -> list[float | None]:
    """Samples by which each reconstruction is late (negative: early), to a thousandth.

    One entry per clip, within ±max_seconds and never more than the clip's length; whole where less
    than half of the clip would be left to find the rest in. None where either side is silent, and
    where no lag has a correlation coefficient of 0.1, as with unrelated noise: there is no delay to
    speak of. Both batches have one rate and as many clips and channels, else ValueError.
    """
    _check_alike(reference, reconstruction)
    time = max(reference.samples.shape[-1], reconstruction.samples.shape[-1])
    if time == 0 or reference.clips == 0:
        return [None] * reference.clips
    reach = min(round(max_seconds * reference.sample_rate), time - 1)
    size = fast_size(time + max(reach + 1, 2 * MARGIN))
    x, y = _centred(reference, time), _centred(reconstruction, time)
    spectrum = torch.fft.rfft(y, size)
    r = torch.fft.irfft((torch.fft.rfft(x, size).conj() * spectrum).sum(1), size)
    lags = _nearest_first(reach, r.device)
    searched = r[:, lags % size]  # a tie goes to the smaller delay: argmax takes the first
    energy = (x.square().sum((1, 2)) * y.square().sum((1, 2))).sqrt()
    upright, inverted = searched.max(-1), (-searched).max(-1)
    flipped = inverted.values > _INVERTED * upright.values
    peak = torch.where(flipped, inverted.values, upright.values)
    whole = lags[torch.where(flipped, inverted.indices, upright.indices)]
    related = (peak > _UNRELATED * energy) & _audible(x, reference) & _audible(y, reconstruction)
    first = [lag + part for lag, part in zip(whole.tolist(), _vertex(r, whole), strict=True)]
    sides = _Sides(x, reference.lengths, spectrum, reconstruction.lengths, size)
    found = zip(whole.tolist(), sides.refined(first), related.tolist(), strict=True)
    return [_bounded(lag, delay, reach) if certain else None for lag, delay, certain in found]


def _bounded(whole: int, delay: float, reach: int) -> float:
    """`delay` to a thousandth, or `whole` where the search has left what was searched."""
    near = abs(delay - whole) <= 1 and abs(delay) <= reach
    return round(delay, DIGITS) if near else float(whole)


def _vertex(r: torch.Tensor, whole: torch.Tensor) -> list[float]:
    """Where the parabola through three values of r (clips, size) turns, from the middle one."""
    size = r.shape[-1]
    before, here, after = (r.gather(1, (whole[:, None] + step) % size)[:, 0] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    found: list[float] = torch.where(bend != 0, 0.5 * (before - after) / bend, 0.0).tolist()
    return found


@dataclass(frozen=True)
class _Sides:
    """What the fraction is found in.

    x: the reference, its lengths. spectrum: of the reconstruction, (clips, channels, bins), from a
    transform of `size` samples, and the reconstruction's lengths.
    """

    x: torch.Tensor
    x_lengths: torch.Tensor
    spectrum: torch.Tensor
    y_lengths: torch.Tensor
    size: int

    def refined(self, delays: Sequence[float]) -> list[float]:
        """Delays by least squares from where they are, within a sample."""
        found, moving = list(delays), [True] * len(delays)
        for _ in range(_STEPS):
            known = spans(torch.minimum(self.x_lengths, self.y_lengths), found)
            moving = [
                moves and 2 * (stop - start) >= length
                for moves, (start, stop), length in zip(
                    moving, known, self.x_lengths.tolist(), strict=True
                )
            ]
            if not any(moving):
                break
            steps = self._steps(found, known)
            found = [
                delay + step if moves else delay
                for delay, step, moves in zip(found, steps, moving, strict=True)
            ]
            # A clip of its own that has settled stays, whatever its neighbours need.
            moving = [
                moves and abs(step) > _LARGE_STEP for moves, step in zip(moving, steps, strict=True)
            ]
        return found

    def _steps(self, delays: Sequence[float], known: Sequence[tuple[int, int]]) -> list[float]:
        """δ of each clip at its delay, within ±1; 0 where there is none."""
        time = self.x.shape[-1]
        whole, fraction = split(delays, self.x.device)
        y = turned(self.spectrum, fraction, self.size)
        both = torch.cat([y, 1j * frequencies(y, self.size) * y], dim=1)
        moved = read_on(torch.fft.irfft(both, self.size)[..., :time], whole, self.y_lengths)
        # (clips, 3, channels, time): the reference, the reconstruction and its derivative
        rows = torch.cat([self.x, moved], dim=1).unflatten(1, (3, -1))
        start, stop = torch.tensor(known, device=rows.device).T[..., None, None, None]
        t = torch.arange(time, device=rows.device)
        inside = (t >= start) & (t < stop)
        rows = rows.where(inside, 0.0).double()
        mean = rows.sum(-1, keepdim=True) / (stop - start).clamp(min=1)
        rows = (rows - mean).where(inside, 0.0).flatten(2)
        products = rows @ rows.mT
        xy, xd, yy = products[:, 0, 1], products[:, 0, 2], products[:, 1, 1]
        yd, dd = products[:, 1, 2], products[:, 2, 2]
        gain = xy * dd - xd * yd
        steps: list[float] = torch.where(gain != 0, (xd * yy - xy * yd) / gain, 0.0).tolist()
        return [min(max(step, -1.0), 1.0) for step in steps]


def _check_alike(reference: AudioBatch, reconstruction: AudioBatch) -> None:
    for what in ("sample_rate", "clips", "channels"):
        one, other = getattr(reference, what), getattr(reconstruction, what)
        if one != other:
            raise ValueError(f"{what} of reference ({one}) and reconstruction ({other}) differ")


def _centred(batch: AudioBatch, time: int) -> torch.Tensor:
    """Float32 (clips, channels, time) without each clip's mean, zero past its length."""
    samples = masked(batch.samples.float(), batch.lengths)
    samples = masked(samples - means(samples, batch.lengths), batch.lengths)
    return torch.nn.functional.pad(samples, (0, time - samples.shape[-1]))


def _audible(samples: torch.Tensor, batch: AudioBatch) -> torch.Tensor:
    lengths = batch.lengths.to(samples.device).clamp(min=1)
    return samples.square().sum(-1).amax(-1) > _SILENT * lengths


def _nearest_first(reach: int, device: torch.device) -> torch.Tensor:
    """0, 1, −1, 2, −2, … ±reach, int64 (2 · reach + 1,)."""
    steps = torch.arange(2 * reach + 1, device=device)
    half = (steps + 1) // 2
    return torch.where(steps % 2 == 1, half, -half)
