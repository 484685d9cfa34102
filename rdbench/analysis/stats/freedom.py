"""Degrees of freedom of a mean over clips whose groups differ in size.

t = (θ − θ₀) / s of `rdbench.analysis.stats.intervals` is Student's with g − 1 degrees of freedom
where g groups of one size have normal scores. Where sizes differ it is not Student's, and how it is
distributed depends on how much clips of a group have in common, which one cannot tell from a heavy
group alone. But for normal scores of given variances the distribution is known: with h_i the share
of group i, v_i the variance of its mean and D = diag(h_i² / (1 − h_i)), θ² − c² s² is a quadratic
form in independent standard normal variables, whose matrix

    √V (h hᵀ − c² (I − h 1ᵀ) D (I − 1 hᵀ)) √V

has one positive eigenvalue λ; with −λ μ_j the others, by Craig's form of the normal tail,

    P(|t| > c) = 2/π ∫₀^½π Π_j (1 + μ_j / sin²φ)^−½ dφ

The degrees of freedom are those with which Student's quantile holds 95 % as nearly as one number
can, from clips that are independent, v_i ~ 1 / h_i, over those where what groups have in common is
a half and three quarters of the variance of θ, to all of it, v_i = 1: the highest coverage lies as
far above 95 % as the lowest lies below. Where that is further than `FURTHEST`, the groups are too
unequal for any number of degrees of freedom, and there are none.

Source of the integral: Craig, A new, simple and exact result for calculating the probability of
error for two-dimensional signal constellations, MILCOM 1991.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

COMMON = (0.0, 0.5, 0.75, 1.0)
"""The share of the variance of θ that comes from what clips of a group have in common."""
LEVEL = 0.95
FURTHEST = 0.015
"""How far from `LEVEL` normal scores may be covered: it leaves room for scores of other shapes."""
LEAST = 2.0
"""Degrees of freedom of three equal groups, with less than which no interval was of use."""
SIZES = 48
"""Different shares that are told apart; more are put together with their neighbours."""
DIGITS = 9
PRECISION = 1e-4
"""Of degrees of freedom."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_OVER_SINE = 1 / np.sin((_NODES + 1) * np.pi / 4) ** 2


def freedom(share: Array) -> Array:
    """Degrees of freedom for each row of shares, (statistics,), 0 where there are none to tell.

    share: of the clips in each group, (statistics, groups), 0 for a group that has none.
    """
    known: dict[bytes, float] = {}
    found = np.zeros(len(share))
    for number, row in enumerate(np.round(share, DIGITS)):
        key = row.tobytes()
        if key not in known:
            sizes, counts = np.unique(row[row > 0], return_counts=True)
            known[key] = _of_sizes(tuple(sizes.tolist()), tuple(counts.tolist()))
        found[number] = known[key]
    return found


def covered(sizes: Sequence[float], counts: Sequence[float], freedom: float) -> Array:
    """How often Student's quantile holds normal scores, for each share in `COMMON`.

    sizes: different shares of groups. counts: how many groups have each.
    """
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, (1 + LEVEL) / 2))
    h, m = np.asarray(sizes, np.float64), np.asarray(counts, np.float64)
    return np.array([1 - _beyond(h, m, common, reach) for common in COMMON])


@lru_cache(maxsize=4096)
def _of_sizes(sizes: tuple[float, ...], counts: tuple[int, ...]) -> float:
    groups = sum(counts)
    if groups < 3:
        return 0.0
    if len(sizes) == 1:
        return groups - 1.0
    h, m = _fewer(np.array(sizes), np.array(counts, np.float64))

    def off(freedom: float) -> float:
        held = covered(h.tolist(), m.tolist(), freedom)
        return float(held.max() + held.min()) / 2 - LEVEL

    found = _root(off, 0.5, groups - 1.0)
    held = covered(h.tolist(), m.tolist(), found)
    even = float(np.abs(held - LEVEL).max()) <= FURTHEST
    return found if even and found >= LEAST else 0.0


def _root(off: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0, or the end that is nearer to it, to `PRECISION`."""
    if off(high) >= 0:
        return high
    while high / low > 1 + PRECISION:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if off(middle) > 0 else (low, middle)
    return high


def _fewer(sizes: Array, counts: Array) -> tuple[Array, Array]:
    """At most `SIZES` shares, neighbours put together at their mean."""
    if len(sizes) <= SIZES:
        return sizes, counts
    logs = np.log(sizes)
    place = np.minimum((logs - logs[0]) / (logs[-1] - logs[0]) * SIZES, SIZES - 1).astype(int)
    together = np.bincount(place, counts).astype(np.float64)
    means = np.bincount(place, counts * sizes)
    there = together > 0
    return means[there] / together[there], together[there]


def _beyond(h: Array, m: Array, common: float, reach: float) -> float:
    """P(|t| > reach); h: different shares. m: groups of each.

    Groups of one share have one eigenvalue in common, but for their sum: the matrix of these sums
    has the others.
    """
    variance = (1 - common) / h + common / (m * h**2).sum()
    d, root = h**2 / (1 - h), np.sqrt(m * variance)
    own = reach**2 * d * variance
    a, b = h * root, d * root
    cross = np.outer(a, b)
    form = (1 - reach**2 * (m * d).sum()) * np.outer(a, a) + reach**2 * (cross + cross.T)
    values = np.linalg.eigvalsh(form - np.diag(own))
    ratios = np.concatenate([-values[:-1], own]) / values[-1]
    times = np.concatenate([np.ones(len(h) - 1), m - 1])
    logs = np.log1p(np.outer(_OVER_SINE, np.maximum(ratios, 0.0))) @ times
    return float(_WEIGHTS @ np.exp(-logs / 2) / 2)
