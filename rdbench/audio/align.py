"""The delay that is left between a reference and its reconstruction, by cross-correlation.

    r(τ) = Σ_channels Σ_t x[t] · y(t + τ),   |τ| ≤ max_seconds · rate,   delay = argmax r(τ)

with the mean of each channel removed, over each clip's own length (Knapp & Carter, "The
generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24(4), 1976). It is
read at every quarter of a sample, tops are compared by the cosine through their three points, since
the tops of a high tone lie between them and another period may seem higher, and the highest is
placed by a parabola. Least squares, over the samples that both sides have, gives the rest,

    x[t] ≈ a · (y(t + delay) + δ · y′(t + delay)),   delay ← delay + δ

with y and its derivative y′ read between samples, until δ is 0 (by the secant method). Correlation
alone would not do: what leaves the clip at its ends draws the top towards zero, by half of a small
delay where the bass is loud. The result is the delay at which a scaled copy of one side fits the
other best, and is exact for a pure delay. It is given to a hundredth of a sample, as it is found.

No whitening (GCC-PHAT): a codec empties whole bands or fills them with noise, and whitening would
give those bands the weight of the ones that carry the signal. Plain correlation weighs a band by
the energy that both sides have in it.

A tone, or a band so narrow that the tops of its periods are as high, is known but for whole
periods: of equal tops the one next to zero is taken. What leaves the clip lowers those further
away, and may draw a late tone to another period, in which it fits nearly as well.

Polarity: a codec that turns the waveform over must not look late by half a period of its loudest
tone, and one that does not must not look turned over because of it. The largest positive peak is
taken unless a negative one is larger by a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

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
_HIGHER = 1 / math.cos(math.pi / (2 * _FINER)) ** 2  # squared, of the highest tone's top and point
_INVERTED = 1.1  # by how much a negative peak must exceed the positive one
_UNRELATED = 0.1  # coefficient under which no lag means anything, in a clip of any length
_FALSE = 1e-3  # probability that white noise has a delay, where the clip is short
_RIVAL = 0.05  # of its height, within which another top makes the highest one uncertain
_EQUAL = 1e-6  # of its height, within which it is as high
_SILENT = 1e-10  # mean square under which there is nothing to align (−100 dBFS)
_SMALL = 0.0025  # of a sample, where the search ends
_STEPS = 4  # at most; two are the rule, and none where there is no delay


def residual_delay(
    *, reference: AudioBatch, reconstruction: AudioBatch, max_seconds: float = MAX_SECONDS
) -> list[float | None]:
    """Samples by which each reconstruction is late (negative: early), to a hundredth.

    One entry per clip, within ±max_seconds and never more than the clip's length; less exact where
    less than half of the clip would be left without it. None where either side is silent, where the
    delay lies beyond, and where no lag has a correlation coefficient of 0.1, or in short clips of
    what one in a thousand pairs of unrelated white noise has: there is no delay to speak of. Noise
    of a narrow band has fewer samples of its own, and passes more often. Both batches have one rate
    and as many clips, channels and samples, else ValueError.
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
    related = (height > _least(x.shape[-1], reach) * energy) & _audible(x) & _audible(y)
    refined = _Fit(x, spectrum, size).refined(first)
    found = zip(first, refined, related.tolist(), strict=True)
    return [_bounded(lag, delay, reach) if certain else None for lag, delay, certain in found]


def _peak(r: torch.Tensor, reach: int) -> tuple[torch.Tensor, list[float]]:
    """The top of r (clips, size), by its height and by its lag, up to MARGIN beyond `reach`."""
    edge, size = reach + MARGIN, r.shape[-1]
    zero = _FINER * edge
    order = zero + _nearest_first(zero - 1, r.device)
    around = torch.arange(-edge, edge + 1, device=r.device)
    points = _points(_near(r[:, around % size]), order)
    tops = _Tops.of(points)
    unsure = (tops.rivals > 0) | ((order[tops.index] - zero).abs() > _FINER * reach)
    if unsure.any():
        points[:, unsure] = _points(_whole(r[unsure], around), order)
        tops = _Tops.of(points)
    before, here, after = points.gather(2, tops.index.expand(3, -1)[..., None])[..., 0]
    bend = before - 2 * here + after
    turn = torch.where(bend != 0, 0.5 * (before - after) / bend, 0.0).clamp(-0.5, 0.5)
    lags = zip((order[tops.index] - zero).tolist(), turn.tolist(), strict=True)
    return tops.height, [(whole + part) / _FINER for whole, part in lags]


def _near(r: torch.Tensor) -> torch.Tensor:
    """A part of r (clips, lags) read between samples. Where it is cut off, a tone rings."""
    size = fast_size(r.shape[-1])
    fine: torch.Tensor = torch.fft.irfft(torch.fft.rfft(r, size), _FINER * size)
    return _FINER * fine


def _whole(r: torch.Tensor, lags: torch.Tensor) -> torch.Tensor:
    """All of r (clips, size), whose ends are zero, read between samples at `lags`: more work."""
    size = r.shape[-1]
    spectrum, parts = torch.fft.rfft(r)[:, None], []
    for part in range(_FINER):
        between = read_between(spectrum, [part / _FINER] * len(r), size, size)[:, 0]
        parts.append(between[:, (lags + round(part / _FINER)) % size])
    return torch.stack(parts, -1).flatten(1)


def _points(fine: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Each point in `order` with the one before and the one after: (3, clips, points)."""
    return torch.stack([fine[:, order + step] for step in (-1, 0, 1)])


@dataclass(frozen=True)
class _Tops:
    """Of each clip the height of the highest top, its place, and how many come near to it."""

    height: torch.Tensor
    index: torch.Tensor
    rivals: torch.Tensor

    @classmethod
    def of(cls, points: torch.Tensor) -> _Tops:
        upright, inverted = _heights(points), _heights(-points)
        flipped = inverted.amax(-1) > _INVERTED * upright.amax(-1)
        heights = torch.where(flipped[:, None], inverted, upright)
        height = heights.amax(-1)
        # A tie goes to the smaller delay: argmax takes the first.
        index = (heights >= (1 - _EQUAL) * height[:, None]).int().argmax(-1)
        return cls(height, index, (heights >= (1 - _RIVAL) * height[:, None]).sum(-1) - 1)


def _heights(points: torch.Tensor) -> torch.Tensor:
    """The height of each top, and 0 for a point that is none, (clips, points).

    It is that of the cosine through three points, which is exact for a tone: by points alone, the
    highest of many periods would be the one whose top lies nearest to a point.
    """
    before, here, after = points
    bend, rise = 2 * here - before - after, after - before
    more = (rise.square() / (bend * (2 * here + before + after))).nan_to_num(0.0, 0.0, 0.0)
    top = (here >= before) & (here >= after)
    heights = torch.where(top, here * (1 + more).clamp(1, _HIGHER).sqrt(), 0.0)
    # A flank that leads out of what is read has its top beyond.
    heights[:, -2:] = torch.maximum(heights[:, -2:], here[:, -2:])
    return heights


def _least(length: int, reach: int) -> float:
    """The coefficient under which no lag means anything.

    Of white noise, artanh of a lag's coefficient is normal with the variance 1 / (length − 3)
    (R. A. Fisher, Metron 1(4), 1921); any lag that is read, upright or inverted, may be the one.
    """
    if length <= 3:
        return math.inf
    tried = 2 * _FINER * (2 * reach + 1)
    return max(_UNRELATED, math.tanh(-NormalDist().inv_cdf(_FALSE / tried) / math.sqrt(length - 3)))


def _bounded(first: float, delay: float, reach: int) -> float | None:
    """`delay` to a hundredth, `first` where the search has left its top; None beyond `reach`."""
    found = round(delay if abs(delay - first) <= 1 else first, DIGITS)
    return found + 0.0 if abs(found) <= reach else None  # never −0


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
