"""The tests of a gate: is a loss on the same clips more than chance?

Per point and metric, with l_c the loss on clip c (what got worse is positive), n_i and m_i its sum
and the number of clips in group i of g, the loss is θ = Σ n_i / Σ m_i with the jackknife error s of
`intervals`, and t = (θ − limit) / s has g − 1 degrees of freedom where nothing has changed. A rate
is total bits over total seconds, so that its loss is the difference of two such ratios, and its
error the jackknife's on that difference.

With few clips the errors are themselves uncertain, which costs much power at the small levels that
correcting for many tests asks for. Points of one metric tell about each other's errors: they are
moderated (Smyth, Linear models and empirical Bayes methods for assessing differential expression,
Stat. Appl. Genet. Mol. Biol. 3, 2004). With ν = g − 1 and s² scaled to one clip,

    s̃² = (ν₀ s₀² + ν s²) / (ν₀ + ν)        t̃ has ν₀ + ν degrees of freedom

where ν₀ and s₀² come from mean and variance of log s² over the points. Errors that differ much
give a small ν₀ and the ordinary t-test. Below `FEWEST_TO_MODERATE` points there is no moderation.
False alarms and power are measured by `benchmarks/gate_power.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

FEWEST_TO_MODERATE = 10


@dataclass(frozen=True)
class Losses:
    """Loss, its standard error and the number of groups and clips, per test (tests,)."""

    mean: Array
    error: Array
    groups: npt.NDArray[np.intp]
    clips: npt.NDArray[np.intp]


def losses(values: Array, groups: npt.NDArray[np.intp]) -> Losses:
    """values: loss per test and clip (tests, clips), NaN where there is none.

    groups: the group of each clip, a number from 0. error is NaN where a test has one group.
    """
    known = np.isfinite(values)
    return _jackknifed([(values, np.ones_like(values))], known, groups)


def rate_losses(
    before: tuple[Array, Array], after: tuple[Array, Array], groups: npt.NDArray[np.intp]
) -> Losses:
    """The rise of Σ bits / Σ seconds, in the unit of bits per second.

    before, after: bits and seconds per test and clip (tests, clips); a clip counts where both have
    bits, NaN elsewhere. groups, error: as in `losses`.
    """
    known = np.isfinite(before[0]) & np.isfinite(after[0])
    return _jackknifed([after, (-before[0], before[1])], known, groups)


def _jackknifed(
    parts: Sequence[tuple[Array, Array]], known: Flags, groups: npt.NDArray[np.intp]
) -> Losses:
    """The sum of the ratios Σ n / Σ d of `parts` over the clips in `known`."""
    member = np.zeros((len(groups), int(groups.max()) + 1 if len(groups) else 0))
    member[np.arange(len(groups)), groups] = 1.0
    counts = known.astype(float) @ member
    present = counts > 0
    number = present.sum(axis=1)
    mean, left = np.zeros(len(known)), np.zeros(counts.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        for part in parts:
            over, under = (np.where(known, side, 0.0) @ member for side in part)
            all_over, all_under = over.sum(axis=1), under.sum(axis=1)
            mean += all_over / all_under
            left += (all_over[:, None] - over) / (all_under[:, None] - under)
        center = np.where(present, left, 0.0).sum(axis=1) / number
        u = np.where(present, (number[:, None] - 1) * (center[:, None] - left), 0.0)
        error = np.sqrt((u**2).sum(axis=1) / (number * (number - 1.0)))
    error = np.where(number > 1, error, np.nan)
    return Losses(mean, error, number, counts.sum(axis=1).astype(np.intp))


def moderated(error: Array, freedom: Array) -> tuple[Array, Array]:
    """Errors and degrees of freedom of the points of one metric, after moderation.

    Tests without an error (NaN or 0) neither give nor take.
    """
    usable = np.isfinite(error) & (error > 0) & (freedom > 0)
    if usable.sum() < FEWEST_TO_MODERATE:
        return error, freedom
    own = freedom[usable]
    # Errors of means over different numbers of groups are compared per group.
    scale = own + 1
    variance = error[usable] ** 2 * scale
    prior, common = _prior(variance, own)
    if np.isinf(prior):
        mixed, total = np.full_like(variance, common), np.full_like(own, np.inf)
    else:
        mixed = (prior * common + own * variance) / (prior + own)
        total = prior + own
    new_error, new_freedom = error.copy(), freedom.copy()
    # No more freedom than all tests together have.
    new_freedom[usable] = np.minimum(total, own.sum())
    new_error[usable] = np.sqrt(mixed / scale)
    return new_error, new_freedom


def one_sided(mean: Array, error: Array, freedom: Array, limit: Array) -> Array:
    """The p-value for a mean above the limit; NaN for a test without an error.

    Without any spread the answer is certain: 0 above the limit, 1 at or below it.
    """
    from scipy.special import stdtr

    with np.errstate(invalid="ignore", divide="ignore"):
        p = stdtr(freedom, -(mean - limit) / error)
    still = error <= 1e-12 * np.maximum(np.abs(mean), np.finfo(float).tiny)
    p = np.where(still, np.where(mean > limit, 0.0, 1.0), p)
    result: Array = np.where(np.isfinite(error) & (freedom > 0), p, np.nan)
    return result


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
