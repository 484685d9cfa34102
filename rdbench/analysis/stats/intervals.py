"""Confidence intervals for any statistic of a few hundred clips, from one bootstrap over groups.

A statistic θ is a smooth function of sums over clips: a mean, a rate, a difference of two means, a
BD-rate. It is known here by three things: its value, its replicates θ* under weights (how often
each group was drawn), and its jackknife values θ_(i) without group i. From the last come the
influences of the groups and the standard error,

    u_i = (g − 1)(mean θ_(·) − θ_(i))          s² = Σ u_i² / (g (g − 1))

*Studentised* (bootstrap-t; Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982,
ch. 10): each replicate is measured in standard errors of its own resample,

    s*² = (Σ w_i u_i² / g − (Σ w_i u_i / g)²) / (g − 1)        t* = (θ* − θ) / s*

and the interval is θ − t*_(1−α/2) s … θ − t*_(α/2) s. It is the default: with 25 groups of skewed
scores plain percentiles and BCa fall short (`benchmarks/interval_coverage.md`). With fewer than
`ENOUGH` groups a resample may draw nearly the same ones again and again, s* is next to nothing and
t* without bound; the interval is then Student's, θ ± t_(g−1) s, and says so. *BCa* (bias-corrected
and accelerated; Efron, "Better bootstrap confidence intervals", JASA 82, 1987) takes quantiles of
θ* at Φ(z0 + (z0 + z_α) / (1 − a (z0 + z_α))), z0 = Φ⁻¹(share of θ* below θ, ties by half),
a = Σ u³ / (6 (Σ u²)^1.5).

Where a score is uncertain for two reasons (which clips, which listeners), each `Factor` brings its
own weights and influences and the variances add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rdbench.analysis.stats.bootstrap import NO_VARIATION, ONE_GROUP, PERCENTILE

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

IntervalMethod = Literal["studentised", "bca", "percentile"]
ROUNDING = 1e-12
ENOUGH = 10
STUDENT = f"Student's t interval: fewer than {ENOUGH} groups of clips"
# More resamples than this without a value, and the others are no fair sample of them.
MOST_LOST = 0.05


@dataclass(frozen=True)
class Factor:
    """One source of uncertainty.

    weights: how often each group was drawn, (resamples, groups). influences: u, (statistics,
    groups), from `influences`.
    """

    weights: Array
    influences: Array


@dataclass(frozen=True)
class Interval:
    """Arrays (statistics,): the ends, the standard error, and a note where it is not a plain one.

    An end is NaN where there is no interval; the note then says why.
    """

    low: Array
    high: Array
    error: Array
    notes: tuple[str, ...]


def influences(left_out: Array) -> Array:
    """u, (statistics, groups), from the jackknife values (statistics, groups)."""
    groups = left_out.shape[1]
    result: Array = (groups - 1) * (left_out.mean(axis=1, keepdims=True) - left_out)
    return result


def standard_error(factors: Sequence[Factor]) -> Array:
    """The jackknife's standard error, (statistics,); NaN for a factor of one group."""
    variance = np.zeros(len(factors[0].influences))
    for factor in factors:
        groups = factor.influences.shape[1]
        if groups < 2:
            return np.full(len(variance), np.nan)
        variance += (factor.influences**2).sum(axis=1) / (groups * (groups - 1))
    return np.sqrt(variance)


def intervals(
    value: Array,
    drawn: Array,
    factors: Sequence[Factor],
    *,
    confidence: float = 0.95,
    method: IntervalMethod = "studentised",
) -> Interval:
    """Intervals of many statistics.

    value: (statistics,). drawn: their replicates, (statistics, resamples), NaN where a resample has
    no value. Raises ValueError for a confidence outside 0 … 1.
    """
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1")
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    error = standard_error(factors)
    lost = 1 - np.isfinite(drawn).mean(axis=1)
    size = np.maximum(np.abs(value), np.nanmax(np.abs(drawn), axis=1, initial=0.0))
    still = error <= ROUNDING * size
    fewest = min(factor.influences.shape[1] for factor in factors)
    student = method == "studentised" and 1 < fewest < ENOUGH
    fallback: npt.NDArray[np.bool_]
    if student:
        ends = student_ends(value, error, np.full(len(value), fewest - 1), tails)
        fallback = np.zeros(len(value), dtype=bool)
    elif method == "studentised":
        ends = _studentised(value, drawn, factors, error, tails)
        fallback = np.zeros(len(value), dtype=bool)
    else:
        ends, fallback = _by_quantiles(value, drawn, factors, tails, method)
    ends[still] = value[still, None]
    unusable = ~np.isfinite(error) | (lost > MOST_LOST) | ~np.isfinite(value)
    ends[unusable] = np.nan
    notes = [
        _note(fewest < 2, share, np.isfinite(spread), fixed, plain) or (STUDENT if student else "")
        for share, spread, fixed, plain in zip(lost, error, still, fallback, strict=True)
    ]
    return Interval(ends[:, 0], ends[:, 1], error, tuple(notes))


def _note(one_group: bool, lost: float, measured: bool, still: bool, percentile: bool) -> str:
    if one_group:
        return ONE_GROUP
    if lost > MOST_LOST:
        return f"no interval: {100 * lost:.0f} % of the resamples have no value"
    if not measured:
        return "no interval: without one of the groups there is no value"
    if still:
        return NO_VARIATION
    return PERCENTILE if percentile else ""


def student_ends(value: Array, error: Array, freedom: npt.NDArray[np.int64], tails: Array) -> Array:
    """Ends (statistics, 2) of Student's t intervals with `freedom` degrees each (statistics,)."""
    from scipy.special import stdtrit

    result: Array = value[:, None] + stdtrit(freedom[:, None], tails[None]) * error[:, None]
    return result


def _studentised(
    value: Array, drawn: Array, factors: Sequence[Factor], error: Array, tails: Array
) -> Array:
    variance = np.zeros_like(drawn)
    for factor in factors:
        groups = factor.influences.shape[1]
        if groups < 2:
            return np.full((len(value), 2), np.nan)
        mean = factor.influences @ factor.weights.T / groups
        square = factor.influences**2 @ factor.weights.T / groups
        variance += np.maximum(square - mean**2, 0) / (groups - 1)
    # A resample of one group drawn again and again has no spread: it is as far out as can be.
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = (drawn - value[:, None]) / np.sqrt(variance)
    steps = np.where(np.isnan(steps) & np.isfinite(drawn), 0.0, steps)
    upper, lower = _quantiles(steps, np.tile(tails[::-1], (len(value), 1))).T
    # Infinitely many standard errors of 0: the caller knows what still values are.
    with np.errstate(invalid="ignore"):
        result: Array = value[:, None] - np.stack([upper, lower], axis=1) * error[:, None]
    return result


def _by_quantiles(
    value: Array,
    drawn: Array,
    factors: Sequence[Factor],
    tails: Array,
    method: IntervalMethod,
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Quantiles of the replicates, at corrected levels for BCa, and where BCa has none."""
    levels = np.tile(tails, (len(value), 1))
    fallback = np.zeros(len(value), dtype=bool)
    if method == "bca":
        corrected = _bca_levels(value, drawn, factors, tails)
        fallback = np.isnan(corrected.sum(axis=1))
        levels = np.where(fallback[:, None], levels, corrected)
    return _quantiles(drawn, levels), fallback


def _bca_levels(value: Array, drawn: Array, factors: Sequence[Factor], tails: Array) -> Array:
    from scipy.special import ndtr, ndtri

    u = np.concatenate([factor.influences for factor in factors], axis=1)
    below = ((drawn < value[:, None]).sum(axis=1) + (drawn <= value[:, None]).sum(axis=1)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = (u**3).sum(axis=1) / (6 * (u**2).sum(axis=1) ** 1.5)
        bias = ndtri(below / np.isfinite(drawn).sum(axis=1))
        shifted = bias[:, None] + ndtri(tails)[None, :]
        stretch = 1 - acceleration[:, None] * shifted
        levels: Array = ndtr(bias[:, None] + shifted / stretch)
    return np.where(np.isfinite(bias)[:, None] & (stretch > 0), levels, np.nan)


def _quantiles(values: Array, levels: Array) -> Array:
    """Linear quantiles of each row's finite or infinite entries, NaN left out; (rows, levels)."""
    ordered = np.sort(values, axis=1)  # NaN goes to the end
    last = np.maximum((~np.isnan(ordered)).sum(axis=1) - 1, 0)[:, None]
    position = np.nan_to_num(levels) * last
    lower = np.floor(position).astype(np.intp)
    upper = np.minimum(lower + 1, last)
    below = np.take_along_axis(ordered, lower, 1)
    above = np.take_along_axis(ordered, upper, 1)
    with np.errstate(invalid="ignore"):
        between = below + (position - lower) * (above - below)
    result: Array = np.where(below == above, below, between)
    return result
