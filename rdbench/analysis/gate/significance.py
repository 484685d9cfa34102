"""The tests of a gate: is a loss on the same clips more than chance?

Per point and metric the loss is a mean over the clips that have a score before and after (what got
worse is positive). A rate is total bits over total seconds, so that its loss is the difference of
two such ratios, and the loss of a set's value is that of two values of the same clips. Errors,
degrees of freedom and p are those of `rdbench.analysis.stats.intervals`.

With few clips the errors are themselves uncertain, which costs much power at the small levels that
correcting for many tests asks for. Points of one metric tell about each other's errors: they are
moderated (Smyth, Linear models and empirical Bayes methods for assessing differential expression,
Stat. Appl. Genet. Mol. Biol. 3, 2004). With s² of ν degrees of freedom, scaled by ν + 1,

    s̃² = (ν₀ s₀² + ν s²) / (ν₀ + ν)        t̃ has ν₀ + ν degrees of freedom

where ν₀ and s₀² come from mean and variance of log s² over the points. Errors that differ much
give a small ν₀ and the ordinary test. Below `FEWEST_TO_MODERATE` points there is no moderation.
False alarms and power are measured by `benchmarks/gate_power.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.stats.intervals import Spread, spread
from rdbench.analysis.stats.leave_one_out import ratio_columns

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

FEWEST_TO_MODERATE = 10


@dataclass(frozen=True)
class Losses:
    """Loss, how much it varies, and the number of clips, per test (tests,)."""

    mean: Array
    spread: Spread
    clips: npt.NDArray[np.intp]


def losses(values: Array, groups: npt.NDArray[np.intp]) -> Losses:
    """values: loss per test and clip (tests, clips), NaN where there is none.

    groups: the group of each clip, a number from 0.
    """
    return _losses([(values, np.ones_like(values))], np.isfinite(values), groups)


def rate_losses(
    before: tuple[Array, Array], after: tuple[Array, Array], groups: npt.NDArray[np.intp]
) -> Losses:
    """The rise of Σ bits / Σ seconds, in the unit of bits per second.

    before, after: bits and seconds per test and clip (tests, clips); a clip counts where both have
    bits, NaN elsewhere. groups: as in `losses`.
    """
    known = np.isfinite(before[0]) & np.isfinite(after[0])
    return _losses([after, (-before[0], before[1])], known, groups)


def _losses(
    parts: Sequence[tuple[Array, Array]], known: Flags, groups: npt.NDArray[np.intp]
) -> Losses:
    """The sum of the ratios Σ n / Σ d of `parts` over the clips in `known`."""

    def by_group(values: Array) -> Array:
        return group_totals(np.where(known, values, 0.0), groups)

    columns = sum(ratio_columns(by_group(over), by_group(under)) for over, under in parts)
    assert not isinstance(columns, int)
    counts = by_group(np.ones(known.shape))
    clips = counts.sum(axis=1)
    share = counts / np.maximum(clips, 1)[:, None]
    return Losses(
        columns[:, 0], spread(columns[:, 0], columns[:, 1:], share), clips.astype(np.intp)
    )


def group_totals(values: Array, groups: npt.NDArray[np.intp]) -> Array:
    """Sums over the clips of each group, (tests, groups)."""
    count = int(groups.max()) + 1 if len(groups) else 0
    cells = groups + count * np.arange(len(values))[:, None]
    totals = np.bincount(cells.ravel(), weights=values.ravel(), minlength=count * len(values))
    result: Array = totals.reshape(len(values), count).astype(np.float64)
    return result


def moderated(given: Spread) -> Spread:
    """Errors and degrees of freedom of the points of one metric, after moderation.

    Tests without an error (NaN or 0), or with too few groups, neither give nor take.
    """
    usable = given.judged & (given.error > 0)
    if usable.sum() < FEWEST_TO_MODERATE:
        return given
    own = given.freedom[usable]
    # Errors of means over different numbers of groups are compared per group.
    scale = own + 1
    variance = given.error[usable] ** 2 * scale
    prior, common = _prior(variance, own)
    if np.isinf(prior):
        mixed, total = np.full_like(variance, common), np.full_like(own, np.inf)
    else:
        mixed = (prior * common + own * variance) / (prior + own)
        total = prior + own
    error, freedom = given.error.copy(), given.freedom.copy()
    # No more freedom than all tests together have.
    freedom[usable] = np.minimum(total, own.sum())
    error[usable] = np.sqrt(mixed / scale)
    return replace(given, error=error, freedom=freedom)


def _prior(variance: Array, freedom: Array) -> tuple[float, float]:
    """ν₀ (infinite where the variances differ no more than chance) and s₀²."""
    from scipy.special import digamma, polygamma

    e = np.log(variance) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(e.var(ddof=1) - polygamma(1, freedom / 2).mean())
    if excess <= 0:
        return np.inf, float(np.exp(e.mean()))
    prior = 2 * _inverse_trigamma(excess)
    return prior, float(np.exp(e.mean() + digamma(prior / 2) - np.log(prior / 2)))


def _inverse_trigamma(value: float) -> float:
    """Newton's method on 1 / trigamma, which is convex (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x
