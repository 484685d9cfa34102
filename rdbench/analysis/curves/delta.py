"""The Bjøntegaard deltas: the mean distance between two rate–quality curves, for many resamples.

With both curves as functions of quality Q over log10 rate, or of log10 rate over quality,

    BD-rate    (10^D − 1) · 100 %,  D = mean over Q of  log10 R_test(Q) − log10 R_reference(Q)
    BD-quality mean over log10 R of  Q_test(R) − Q_reference(R)

each taken over the range that both curves have, and never beyond it. (Bjøntegaard, Calculation of
average PSNR differences between RD-curves, ITU-T SG16 VCEG-M33, 2001; piecewise cubics as in
Bjøntegaard, VCEG-AI11, 2008.) On strictly rising curves the results are those of the package
`bjontegaard`; what is new here is that all resamples are computed at once.

Here quality always rises with the rate: where lower is better, the caller turns the sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from rdbench.analysis.curves.interpolation import Interpolation, Spline, spline
from rdbench.analysis.curves.monotone import in_order, isotonic, merged, rises

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

Over = Literal["quality", "rate"]
# Fewer, and the slopes are no curve's: PCHIP needs a neighbour on both sides of one point, Akima
# of two.
FEWEST: dict[Interpolation, int] = {"pchip": 3, "akima": 4}
# A number that rests on a smaller part of either curve says little of that curve.
LEAST_SHARE = 0.2
# Nor does one over a range most of which lies between two neighbouring points of a curve: what the
# curve does there is the interpolation's.
LARGEST_GAP = 0.5
GRID = 257
COARSE = 17


@dataclass(frozen=True)
class Curve:
    """A curve in each of many columns (resamples), made by `curve`; arrays (points, columns).

    log_rate: log10 of kbps, rising. quality: not falling, higher is better. starts: whether a
    point lies above the one before; those that do not are one with it.
    """

    log_rate: Array
    quality: Array
    starts: Flags

    def column(self, index: int) -> Curve:
        """The curve of one column alone."""
        one = slice(index, index + 1)
        return Curve(self.log_rate[:, one], self.quality[:, one], self.starts[:, one])

    @property
    def points(self) -> npt.NDArray[np.intp]:
        """How many points are left after repair, (columns,)."""
        result: npt.NDArray[np.intp] = self.starts.sum(axis=0)
        return result

    def spline(
        self, chosen: npt.NDArray[np.intp], pattern: Flags, method: Interpolation, over: Over
    ) -> Spline:
        """The columns `chosen`, whose points stand alone where `pattern` says, over an axis."""
        rate, quality = self.log_rate, self.quality
        if len(chosen) < rate.shape[1]:
            rate, quality = rate[:, chosen], quality[:, chosen]
        rate, quality = merged(rate, pattern), merged(quality, pattern)
        x, y = (quality, rate) if over == "quality" else (rate, quality)
        return spline(x, y, method)


@dataclass(frozen=True)
class Delta:
    """Mean distance per column (in log10 rate or in quality) and its range; all (columns,).

    NaN where the curves share no range. share_reference, share_test: what part of each curve's own
    extent the range is, 0 … 1. gap_reference, gap_test: what part of the range is the longest
    stretch without a point of that curve, 0 … 1; its ends are no points.
    """

    value: Array
    low: Array
    high: Array
    share_reference: Array
    share_test: Array
    gap_reference: Array
    gap_test: Array


def curve(kbps: Array, quality: Array) -> Curve:
    """A curve from points in any order; kbps > 0, quality (points, columns), higher is better."""
    log_rate, values = in_order(np.log10(kbps), quality)
    level = isotonic(values)
    return Curve(log_rate, level, rises(level))


def delta(reference: Curve, test: Curve, method: Interpolation, over: Over) -> Delta:
    """The mean of test − reference over the common range of `over`."""
    result = np.full((7, reference.quality.shape[1]), np.nan)
    for chosen, first, second in _splines(reference, test, method, over):
        low, high = np.maximum(first.x[0], second.x[0]), np.minimum(first.x[-1], second.x[-1])
        with np.errstate(invalid="ignore", divide="ignore"):
            width = np.where(high > low, high - low, np.nan)
            integral = second.integrate(low, high) - first.integrate(low, high)
            shares = [width / (s.x[-1] - s.x[0]) for s in (first, second)]
            gaps = [_longest(s.x, low, high) / width for s in (first, second)]
            result[:, chosen] = integral / width, low, high, *shares, *gaps
    return Delta(*result)


def percent(log_ratio: Array) -> Array:
    """A difference of log10 rates as a change in percent."""
    result: Array = (10**log_ratio - 1) * 100
    return result


def evaluate(given: Curve, at: float | Array, method: Interpolation, over: Over) -> Array:
    """The curve at one quality or log10 rate, (columns,); NaN where that is beyond its points.

    at: one for all columns, or one for each.
    """
    places = np.broadcast_to(at, given.quality.shape[1:])
    result = np.full(given.quality.shape[1], np.nan)
    for chosen, pattern in _patterns(given.starts):
        if pattern.sum() < 2:
            continue
        made = given.spline(chosen, pattern, method, over)
        # The ends of a curve whose rate is the same in every resample are within it.
        slack = 1e-12 * np.abs(made.x).max(axis=0)
        place = places[chosen]
        inside = (made.x[0] - slack <= place) & (place <= made.x[-1] + slack)
        values = made(place[None])[0]
        result[chosen] = np.where(inside, values, np.nan)
    return result


def crossings(reference: Curve, test: Curve, method: Interpolation) -> list[tuple[float, float]]:
    """Where the two curves (each of one column) cross, as (log10 rate, quality), by rate.

    Two curves that meet at an end of the common range and do not change sides do not cross.
    """
    for _, first, second in _splines(reference, test, method, "rate"):
        low = float(max(first.x[0, 0], second.x[0, 0]))
        high = float(min(first.x[-1, 0], second.x[-1, 0]))
        if not high > low:
            return []
        extent = max(float(np.ptp(first.y)), float(np.ptp(second.y)))
        at = np.linspace(low, high, GRID)[:, None]
        gap = (second(at) - first(at))[:, 0]
        sided = np.flatnonzero(np.abs(gap) > 1e-9 * extent)
        found = []
        for i, j in pairwise(sided.tolist()):
            if gap[i] * gap[j] < 0:
                ends = float(at[i, 0]), float(at[j, 0])
                place = _root(first, second, ends, float(gap[i]))
                found.append((place, float(first(np.array([[place]]))[0, 0])))
        return found
    return []


def crosses(reference: Curve, test: Curve, method: Interpolation) -> Flags:
    """Whether the curves change sides, per column; on a coarse grid, for shares alone."""
    result = np.zeros(reference.quality.shape[1], dtype=np.bool_)
    for chosen, first, second in _splines(reference, test, method, "rate"):
        low, high = np.maximum(first.x[0], second.x[0]), np.minimum(first.x[-1], second.x[-1])
        at = low + np.linspace(0, 1, COARSE)[:, None] * np.maximum(high - low, 0)
        gap = second(at) - first(at)
        result[chosen] = (gap.max(axis=0) > 0) & (gap.min(axis=0) < 0) & (high > low)
    return result


def _longest(points: Array, low: Array, high: Array) -> Array:
    """The longest stretch of low … high without one of the points (points, columns)."""
    inside = np.clip(points, low, high)
    result: Array = np.diff(np.stack([low, *inside, high]), axis=0).max(axis=0)
    return result


def _splines(
    reference: Curve, test: Curve, method: Interpolation, over: Over
) -> Iterator[tuple[npt.NDArray[np.intp], Spline, Spline]]:
    """Both curves' splines, column sets of one pattern of merged points at a time."""
    points = len(reference.starts)
    for chosen, pattern in _patterns(np.concatenate([reference.starts, test.starts])):
        one, two = pattern[:points], pattern[points:]
        if one.sum() >= 2 and two.sum() >= 2:
            yield (
                chosen,
                reference.spline(chosen, one, method, over),
                test.spline(chosen, two, method, over),
            )


def _patterns(starts: Flags) -> Iterator[tuple[npt.NDArray[np.intp], Flags]]:
    """The distinct columns of `starts`, each with the numbers of the columns that look so."""
    if starts.all():
        yield np.arange(starts.shape[1]), starts[:, 0]
        return
    distinct, number = np.unique(starts, axis=1, return_inverse=True)
    for code in range(distinct.shape[1]):
        yield np.flatnonzero(number.reshape(-1) == code), distinct[:, code]


def _root(first: Spline, second: Spline, ends: tuple[float, float], at_low: float) -> float:
    """Where the sign changes between the ends, by a fine grid and a straight line in its cell."""
    at = np.linspace(*ends, GRID)
    gap = (second(at[:, None]) - first(at[:, None]))[:, 0]
    after = int(np.flatnonzero(gap * at_low <= 0)[0])
    if after == 0 or gap[after] == 0:
        return float(at[after])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(at[after - 1] + share * (at[after] - at[after - 1]))
