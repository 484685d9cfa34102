"""Intervals and p-values of any statistic over clips whose groups differ in size: the one engine.

Clips of one group (a speaker, a session) are not independent, so the group is the unit. A statistic
θ is a smooth function of sums over clips: a mean over clips, a rate, a difference of two means, a
BD-rate, a distance between two sets. It is known here by its value, by its values θ_(i) without
each group i, and by the share h_i of the clips (of the seconds, for a rate) that the group holds.

*Error.* With e_i = (1 − h_i)(θ − θ_(i)), which for a mean is what group i adds to it, less h_i
times their sum, the variance is the cluster-robust one of Bell and McCaffrey (CR2; Survey
Methodology 28, 2002),

    s² = Σ e_i² / (1 − h_i)

and its degrees of freedom ν₀ are those that hold normal scores of such groups best, whatever clips
of a group have in common (`rdbench.analysis.stats.freedom`). Groups of one size give the textbook's
s² and ν₀ = g − 1. A g-th of them is spent on the skewness: ν = ν₀ (1 − 1 / g).

*Interval.* Means of skewed scores are skewed themselves. With γ the skewness of e_i / h_i over the
groups and a = γ (1 + 60 / g²) / (g (ν₀ + 1))^¼, between what g equal groups would have and ν₀ + 1
of them (one heavy group says little of the shape of a distribution; few groups have far less
skewness than what they come from), Hall's transformation of t = (θ − θ₀) / s (On the removal of
skewness by transformation, Journal of the Royal Statistical Society B 54, 1992)

    T(t) = t + a t² / 3 + a² t³ / 27 + a / 6

is taken as Student's with ν degrees of freedom; the interval holds the θ₀ with |T| within its
quantile (for which a is cut where T would turn flat). The 60 was chosen on simulated designs, the
rule then checked on others: `benchmarks/interval_coverage.py` measures how often intervals hold the
truth on both.

*p-values* live far out in the tails once they are corrected for many tests, where an estimated
skewness is least to be trusted: they are the larger of those of t and T, so that a difference whose
interval holds 0 is never significant.

Where a score is uncertain for two reasons (which clips, which listeners), variances add (`added`).

Scores that are the same in every group leave nothing to judge by: scores of few values (ratings,
yes or no) are so by chance. Bits of a constant rate are so by nature, and certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.stats.freedom import freedom

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

NO_CLIP = "no clip was scored"
ONE_GROUP = "one group of clips: no interval"
UNEQUAL = "too few or too unequal groups of clips: no interval"
UNDEFINED = "no interval: without one of the groups there is no value"
NO_VARIATION = "no variation between groups"
NOTHING_VARIES = "no variation between groups: no interval"
ENOUGH = 8
FEW = f"fewer than {ENOUGH} groups of clips: the interval may be too narrow"
# How much of an estimated skewness few groups are thought to hide, times g².
HIDDEN = 60.0
# The least of 1 + a t / 3, the square of which is the steepness of T.
STEEPNESS = 0.5
ROUNDING = 1e-12
# Numbers held at once in one array: statistics × groups (64 MiB in float64).
CELLS = 2**23


@dataclass(frozen=True)
class Spread:
    """How much statistics vary, arrays (statistics,).

    error: the standard error, NaN where a value without a group is none. freedom: its degrees of
    freedom, 0 where groups are too few or too unequal to tell any. lean: a, the skewness of the
    statistic. groups: how many have a say. still: whether nothing varies but rounding.
    """

    error: Array
    freedom: Array
    lean: Array
    groups: npt.NDArray[np.intp]
    still: Flags

    @property
    def judged(self) -> Flags:
        """Whether there are enough groups, and even enough ones, to tell anything."""
        enough: Flags = (self.groups > 2) & (self.freedom > 0)
        return enough & np.isfinite(self.error)


@dataclass(frozen=True)
class Intervals:
    """Arrays (statistics,): the ends, and a note where the interval is not a plain one.

    An end is NaN where there is no interval; the note then says why.
    """

    low: Array
    high: Array
    notes: tuple[str, ...]


def spread(value: Array, left_out: Array, share: Array, *, size: float = 0.0) -> Spread:
    """The spread of statistics.

    value: (statistics,). left_out: without each group, (statistics, groups). share: of the clips
    in each group, (groups,) or (statistics, groups), 0 for a group that has nothing to say. size:
    of what they are the differences of, where it is larger: rounding is of that size.
    """
    whole = freedom(np.atleast_2d(share))
    share = np.broadcast_to(share, left_out.shape)
    there = share > 0
    groups = there.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.where(there, 1 - share, 1.0)
        effect = np.where(there, rest * (value[:, None] - left_out), 0.0)
        effect -= share * effect.sum(axis=1, keepdims=True)
        variance = (effect**2 / rest).sum(axis=1)
        most = np.abs(np.where(there, left_out, 0.0)).max(axis=1, initial=size)
        error = np.where(groups > 1, np.sqrt(variance), np.nan)
        lean = _skewness(np.where(there, effect / share, 0.0), there)
        lean *= (1 + HIDDEN / groups**2) / (groups * (whole + 1)) ** 0.25
        left = np.where(groups > 1, whole * (1 - 1 / groups), 0.0)
    still = error <= ROUNDING * np.fmax(np.abs(value), most)
    lean = np.where(still | ~np.isfinite(lean), 0.0, lean)
    return Spread(error, left, lean, groups, still)


def added(parts: Sequence[Spread]) -> Spread:
    """The spread of statistics that vary for several independent reasons."""
    if len(parts) == 1:
        return parts[0]
    variance = np.stack([part.error**2 for part in parts])
    total = variance.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(total)
        freedom = total**2 / (variance**2 / np.stack([part.freedom for part in parts])).sum(axis=0)
        lean = (np.stack([part.lean for part in parts]) * variance**1.5).sum(axis=0) / total**1.5
    still = np.all([part.still for part in parts], axis=0)
    fewest = np.min([part.groups for part in parts], axis=0)
    return Spread(
        error, np.where(still, parts[0].freedom, freedom), np.nan_to_num(lean), fewest, still
    )


def intervals(
    value: Array, given: Spread, *, certain: bool | Flags = False, confidence: float = 0.95
) -> Intervals:
    """Intervals of statistics of the `given` spread; value: (statistics,).

    certain: whether what does not vary is so by nature, (statistics,) or for all of them; its
    interval is a point. Raises ValueError for a confidence outside 0 … 1.
    """
    from scipy.special import stdtrit

    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1")
    judged = given.judged & np.isfinite(value)
    known = judged & (~given.still | certain)
    reach = stdtrit(np.where(judged, given.freedom, 1.0), (1 + confidence) / 2)
    low = value - given.error * _untransformed(reach, given.lean)
    high = value - given.error * _untransformed(-reach, given.lean)
    ends = np.where(known, np.where(given.still, value, [low, high]), np.nan)
    notes = tuple(
        NOTHING_VARIES if fine and not bounded else note
        for note, fine, bounded in zip(_notes(value, given), judged, known, strict=True)
    )
    return Intervals(ends[0], ends[1], notes)


def p_above(distance: Array, given: Spread, *, certain: bool = False) -> Array:
    """One-sided p-values of distances (statistics,) that are above 0; NaN where none can be told.

    Without any spread p is 1 up to 0; above it, 0 where it is so by nature (`certain`), else NaN.
    """
    from scipy.special import stdtr

    with np.errstate(invalid="ignore", divide="ignore"):
        t = distance / given.error
        # As `_bounded` for the interval that ends at 0.
        lean = np.maximum(given.lean, -3 * (1 - STEEPNESS) / np.abs(t))
        least = np.minimum(t, _transformed(t, lean))
        p = stdtr(np.where(given.judged, given.freedom, 1.0), -least)
    p = np.where(given.still, np.where(distance > 0, 0.0 if certain else np.nan, 1.0), p)
    result: Array = np.where(given.judged, p, np.nan)
    return result


def p_two_sided(distance: Array, given: Spread, *, certain: bool = False) -> Array:
    """Two-sided p-values of distances (statistics,) from 0; as `p_above`."""
    below = p_above(-distance, mirrored(given), certain=certain)
    p = np.where(distance < 0, below, p_above(distance, given, certain=certain))
    result: Array = np.minimum(2 * p, 1.0)
    return result


def mirrored(given: Spread) -> Spread:
    """The spread of the same statistics with the other sign."""
    return replace(given, lean=-given.lean)


def _skewness(values: Array, there: Flags) -> Array:
    """The skewness over the groups that are `there`, less its bias (G₁); NaN below three."""
    count = there.sum(axis=1)
    centre = values.sum(axis=1) / count
    apart = np.where(there, values - centre[:, None], 0.0)
    second, third = ((apart**power).sum(axis=1) / count for power in (2, 3))
    result: Array = third / second**1.5 * np.sqrt(count * (count - 1.0)) / (count - 2.0)
    return result


def _transformed(t: Array, lean: Array) -> Array:
    result: Array = t + lean * t**2 / 3 + lean**2 * t**3 / 27 + lean / 6
    return result


def _bounded(reach: Array, lean: Array) -> Array:
    """The skewness as far as it can be trusted: to where T is a quarter as steep as at 0.

    There 1 + a t / 3, whose third power is 1 + a (T − a / 6), is a half; beyond, T turns flat, and
    a little more skewness would move an end by any number of standard errors.
    """
    size = np.abs(reach)
    # Of a² / 6 + a |T| = 1 − ½³.
    most = 3 * (np.sqrt(size**2 + 2 / 3 * (1 - STEEPNESS**3)) - size)
    result: Array = np.clip(lean, -most, most)
    return result


def _untransformed(reach: Array, lean: Array) -> Array:
    """The t whose transform is `reach`."""
    lean = _bounded(reach, lean)
    plain = np.abs(lean) < 1e-9
    a = np.where(plain, 1.0, lean)
    result: Array = np.where(plain, reach, 3 / a * (np.cbrt(1 + a * (reach - a / 6)) - 1))
    return result


def _notes(value: Array, given: Spread) -> Iterator[str]:
    columns = np.isfinite(value), given.groups, given.error, given.judged, given.still
    for known, groups, error, judged, still in zip(*columns, strict=True):
        if not groups or not known:
            yield NO_CLIP
        elif groups == 1:
            yield ONE_GROUP
        elif not np.isfinite(error):
            yield UNDEFINED
        elif not judged:
            yield UNEQUAL
        elif still:
            yield NO_VARIATION
        else:
            yield FEW if groups < ENOUGH else ""
