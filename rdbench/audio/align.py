"""The delay that is left between a reference and its reconstruction, by cross-correlation.

    r(τ) = Σ_channels Σ_t x[t] · y(t + τ),   |τ| ≤ max_seconds · rate,   delay = argmax r(τ)

with the mean of each channel removed, over each clip's own length (Knapp & Carter, "The
generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24(4), 1976). It is
read at every quarter of a sample, since the tops of a high tone lie between samples and another
period may seem higher, and next to its top by a parabola. Least squares, over the samples that both
sides have, gives the rest,

    x[t] ≈ a · (y(t + delay) + δ · y′(t + delay)),   delay ← delay + δ

with y and its derivative y′ read between samples, until δ is 0 (by the secant method). Correlation
alone would not do: what leaves the clip at its ends draws the top towards zero, by half of a small
delay where the bass is loud. The result is the delay at which a scaled copy of one side fits the
other best, and is exact for a pure delay. It is given to a hundredth of a sample, as it is found.

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

from rdbench.audio.shift import (
    MARGIN,
    by_length,
    fast_size,
    frequencies,
    leaves_half,
    read_between,
    read_on,
    spans,
)
from rdbench.types import AudioBatch

VERSION = 2
"""Raised when delays change."""

MAX_SECONDS = 0.1
DIGITS = 2
"""Decimals of a sample. What is finer costs 40 dB in white noise, and 60 in speech."""
_FINER = 4  # lags for each sample
_INVERTED = 1.1  # by how much a negative peak must exceed the positive one
_UNRELATED = 0.1  # coefficient under which no lag means anything
_SILENT = 1e-10  # mean square under which there is nothing to align (−100 dBFS)
_SMALL = 0.0025  # of a sample, where the search ends
_STEPS = 4  # at most; two are the rule, and none where there is no delay


def residual_delay(
    *, reference: AudioBatch, reconstruction: AudioBatch, max_seconds: float = MAX_SECONDS
) -> list[float | None]:
    """Samples by which each reconstruction is late (negative: early), to a hundredth.

    One entry per clip, within ±max_seconds and never more than the clip's length; less exact where
    less than half of the clip would be left without it. None where either side is silent, and where
    no lag has a correlation coefficient of 0.1, as with unrelated noise: there is no delay to speak
    of. Both batches have one rate and as many clips, channels and samples, else ValueError.
    """
    _check_alike(reference, reconstruction)
    reach = round(max_seconds * reference.sample_rate)
    found: list[float | None] = [None] * reference.clips
    for length, indices in by_length(reference.lengths):
        if length == 0:
            continue
        x, y = (one.samples[indices, :, :length].float() for one in (reference, reconstruction))
        delays = _delays(x, y, min(reach, length - 1))
        for index, delay in zip(indices, delays, strict=True):
            found[index] = delay
    return found


def _delays(x: torch.Tensor, y: torch.Tensor, reach: int) -> list[float | None]:
    """Of clips of one length, float32 (clips, channels, time)."""
    x, y = (one - one.mean(-1, keepdim=True) for one in (x, y))
    size = fast_size(x.shape[-1] + reach + MARGIN + 1)
    spectrum = torch.fft.rfft(y, size)
    r = torch.fft.irfft((torch.fft.rfft(x, size).conj() * spectrum).sum(1), size)
    height, first = _peak(r, reach)
    energy = (x.square().sum((1, 2)) * y.square().sum((1, 2))).sqrt()
    related = (height > _UNRELATED * energy) & _audible(x) & _audible(y)
    refined = _Fit(x, spectrum, size).refined(first)
    found = zip(first, refined, related.tolist(), strict=True)
    return [_bounded(lag, delay, reach) if certain else None for lag, delay, certain in found]


def _peak(r: torch.Tensor, reach: int) -> tuple[torch.Tensor, list[float]]:
    """The top of r (clips, size), by its height at a quarter of a sample and by its lag."""
    edge = reach + MARGIN
    around = r[:, torch.arange(-edge, edge + 1, device=r.device) % r.shape[-1]]
    size = fast_size(2 * edge + 1)
    fine = _FINER * torch.fft.irfft(torch.fft.rfft(around, size), _FINER * size)
    order = _FINER * edge + _nearest_first(_FINER * reach, r.device)
    searched = fine[:, order]  # a tie goes to the smaller delay: argmax takes the first
    upright, inverted = searched.max(-1), (-searched).max(-1)
    flipped = inverted.values > _INVERTED * upright.values
    height = torch.where(flipped, inverted.values, upright.values)
    top = order[torch.where(flipped, inverted.indices, upright.indices)]
    before, here, after = (fine.gather(1, top[:, None] + step)[:, 0] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    turn = torch.where(bend != 0, 0.5 * (before - after) / bend, 0.0).clamp(-0.5, 0.5)
    lags = zip(top.tolist(), turn.tolist(), strict=True)
    return height, [(whole + part) / _FINER - edge for whole, part in lags]


def _bounded(first: float, delay: float, reach: int) -> float:
    """`delay` to a hundredth, or `first` where the search has left what was searched."""
    near = abs(delay - first) <= 1 and abs(delay) <= reach
    return round(delay if near else first, DIGITS) + 0.0  # never −0


@dataclass(frozen=True)
class _Fit:
    """Least squares of references by what was decoded.

    x: references without their means, (clips, channels, time). spectrum: of the reconstructions,
    (clips, channels, bins), from transforms of `size` samples.
    """

    x: torch.Tensor
    spectrum: torch.Tensor
    size: int

    def refined(self, delays: Sequence[float]) -> list[float]:
        """Delays where the fit is best, searched from `delays`; a clip alone has the same."""
        found = list(delays)
        lengths = torch.full((len(found),), self.x.shape[-1])
        moving = {index for index, delay in enumerate(found) if abs(delay) > _SMALL}
        before: dict[int, tuple[float, float]] = {}  # δ of the last delay, and what it was moved by
        for _ in range(_STEPS):
            enough = leaves_half(lengths, found)
            moving = {index for index in moving if enough[index]}
            if not moving:
                break
            steps = self._steps(found)
            for index in moving:
                move = _secant(steps[index], *before.get(index, (0.0, 0.0)))
                before[index] = steps[index], move
                found[index] += move
            moving = {index for index in moving if abs(before[index][1]) > _SMALL}
        return found

    def _steps(self, delays: Sequence[float]) -> list[float]:
        """δ of each clip at its delay, within ±1; 0 where there is none."""
        clips, time = len(delays), self.x.shape[-1]
        slope = 1j * frequencies(self.spectrum, self.size) * self.spectrum
        both = torch.cat([self.spectrum, slope], dim=1)
        between = read_between(both, delays, self.size, time)
        y = read_on(between, [round(delay) for delay in delays])
        steps = []
        for index, (start, stop) in enumerate(spans(torch.full((clips,), time), delays)):
            # (3, channels, samples): the reference, the reconstruction and its derivative
            rows = torch.cat([self.x[index], y[index]])[:, start:stop].double()
            rows = (rows - rows.mean(-1, keepdim=True)).reshape(3, -1)
            ((_, xy, xd), (_, yy, yd), (_, _, dd)) = (rows @ rows.T).tolist()
            gain = xy * dd - xd * yd
            step = (xd * yy - xy * yd) / gain if gain else 0.0
            steps.append(min(max(step, -1.0), 1.0))
        return steps


def _secant(step: float, step_before: float, move_before: float) -> float:
    """Where the line through two steps is 0, from the second one on; without a first, the step."""
    if move_before == 0 or step == step_before:
        return step
    return min(max(step * move_before / (step_before - step), -1.0), 1.0)


def _check_alike(reference: AudioBatch, reconstruction: AudioBatch) -> None:
    for what in ("sample_rate", "clips", "channels"):
        one, other = getattr(reference, what), getattr(reconstruction, what)
        if one != other:
            raise ValueError(f"{what} of reference ({one}) and reconstruction ({other}) differ")
    ours, theirs = reference.lengths.tolist(), reconstruction.lengths.tolist()
    if ours != theirs:
        raise ValueError(f"lengths of reference ({ours}) and reconstruction ({theirs}) differ")


def _audible(samples: torch.Tensor) -> torch.Tensor:
    return samples.square().mean(-1).amax(-1) > _SILENT


def _nearest_first(reach: int, device: torch.device) -> torch.Tensor:
    """0, 1, −1, 2, −2, … ±reach, int64 (2 · reach + 1,)."""
    steps = torch.arange(2 * reach + 1, device=device)
    half = (steps + 1) // 2
    return torch.where(steps % 2 == 1, half, -half)
