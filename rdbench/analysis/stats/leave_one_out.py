"""Means and rates of points in the sample, and in the sample without each group of its clips.

The columns of every array here are one after the other: the sample itself; the sample without each
group; for scores that people gave, the sample without each listener. Whatever is computed from a
column, be it a BD-rate, is then computed for all of them at once, and `Columns.spread` tells from
the result how much it varies. A mean is over clips, whatever group they are of: a group counts by
its clips. A rate is total bits over total seconds.

`drawn` makes the same numbers under a bootstrap, for what is no smooth function of the sample: in
what share of the resamples two curves cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.stats.intervals import CELLS, Intervals, Spread, added, intervals, spread
from rdbench.resampling import RESAMPLES, domain_seed, resample_weights

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.arrays import DomainScores

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    # Sums of values and of weights, per point and group; of listeners' answers,
    # (points, listeners, groups).
    Sums = tuple[Array, Array]

# The seed of the draws of listeners, beside that of the draws of clips.
LISTENERS = 7919


@dataclass(frozen=True)
class Sampling:
    """How sure numbers are said to be: at which confidence, and from which draws where drawn."""

    resamples: int = RESAMPLES
    seed: int = 0
    confidence: float = 0.95


@dataclass(frozen=True)
class Columns:
    """What the columns leave out.

    groups: the share of the clips in each group, (groups,). listeners: the share of the answers
    of each listener, (listeners,), or None where no one was asked.
    """

    groups: Array
    listeners: Array | None = None

    def spread(self, found: Array, *, size: float = 0.0) -> Spread:
        """How much statistics vary that were computed for all columns, (statistics, columns).

        size: as in `rdbench.analysis.stats.intervals.spread`.
        """
        count = 1 + len(self.groups)
        parts = [spread(found[:, 0], found[:, 1:count], self.groups, size=size)]
        if self.listeners is not None:
            parts.append(spread(found[:, 0], found[:, count:], self.listeners, size=size))
        return added(parts)

    def interval(
        self, found: Array, *, certain: bool = False, confidence: float = 0.95
    ) -> Intervals:
        """Intervals of such statistics; `certain` as in `intervals`."""
        return intervals(found[:, 0], self.spread(found), certain=certain, confidence=confidence)


def columns_of(scores: DomainScores, chosen: Flags, key: str) -> Columns:
    """The columns for comparisons on the `chosen` clips (clips,) by the metric `key`."""
    clips = scores.group_sums(np.ones(len(chosen)), chosen)
    ratings = scores.ratings.get(key)
    if ratings is None:
        return Columns(clips / clips.sum())
    answers = np.isfinite(ratings.values[..., chosen]).sum(axis=(0, 2)).astype(float)
    return Columns(clips / clips.sum(), answers / answers.sum())


def means(
    scores: DomainScores, points: Sequence[int], metric: tuple[str, str], chosen: Flags
) -> Array:
    """Mean scores of the points on the `chosen` clips, (points, columns).

    The value of a set is that of its own clips, which must be the chosen ones
    (`ClipValues.same_set`).
    """
    where = ("means", tuple(points), metric, chosen.tobytes())
    return scores.keep(where, lambda: _means(scores, list(points), metric, chosen))


def kbps(
    scores: DomainScores,
    points: Sequence[int],
    rate: tuple[str, str],
    chosen: Flags,
    columns: Columns,
) -> Array:
    """Rates of the points in kbps, (points, columns)."""
    where = ("kbps", tuple(points), rate, chosen.tobytes())
    found = scores.keep(where, lambda: ratio_columns(*_bits(scores, list(points), rate, chosen)))
    if columns.listeners is None:
        return found
    # No listener changes a rate.
    return np.concatenate([found, np.repeat(found[:, :1], len(columns.listeners), 1)], axis=1)


def ratio_columns(totals: Array, counts: Array) -> Array:
    """Σ totals / Σ counts over the groups, and without each of them, (ratios, columns).

    totals, counts: (ratios, groups), or (ratios, listeners, groups), whose columns leave out each
    listener, too. NaN where nothing is left to count.
    """
    columns = []
    for part in (totals, counts):
        if part.ndim == 3:
            by_group, by_listener = part.sum(axis=1), part.sum(axis=2)
            left_out = np.concatenate([by_group, by_listener], axis=1)
            total = by_group.sum(axis=1, keepdims=True)
        else:
            left_out, total = part, part.sum(axis=1, keepdims=True)
        columns.append(np.concatenate([total, total - left_out], axis=1))
    return _ratio(*columns)


def drawn(
    scores: DomainScores,
    points: Sequence[int],
    metric: tuple[str, str],
    rate: tuple[str, str],
    chosen: Flags,
    *,
    sampling: Sampling,
) -> tuple[Array, Array]:
    """Mean scores and rates in kbps under one bootstrap, each (points, resamples).

    So many groups that their weights would not fit in memory have fewer resamples; so has the
    value of a set that was resampled less often (its draws are those of seed 0).
    """
    index, sets = list(points), scores.metrics[metric].sets
    bits, seconds = _bits(scores, index, rate, chosen)
    groups = bits.shape[1]
    resamples = max(1, min(sampling.resamples, CELLS // groups))
    if sets is not None:
        kept = [sets[i].drawn if i in sets else np.empty(0) for i in index]
        resamples = min([resamples, *map(len, kept)])
    seed = domain_seed(0 if sets else sampling.seed, scores.domain)
    weights = resample_weights(groups, resamples=max(1, resamples), seed=seed)[:resamples]
    rates = _ratio(bits @ weights.T, seconds @ weights.T)
    if sets is not None:
        return np.stack([one[:resamples] for one in kept]), rates
    totals, counts = _scores(scores, index, metric, chosen)
    if totals.ndim == 3:
        # Of their own seed: listeners and clips are drawn independently.
        people = resample_weights(
            totals.shape[1], resamples=resamples, seed=[sampling.seed, LISTENERS]
        )
        totals, counts = (
            np.einsum("rl,plg,rg->pr", people, part, weights, optimize=True)
            for part in (totals, counts)
        )
    else:
        totals, counts = totals @ weights.T, counts @ weights.T
    return _ratio(totals, counts), rates


def _means(scores: DomainScores, index: list[int], metric: tuple[str, str], chosen: Flags) -> Array:
    sets = scores.metrics[metric].sets
    if sets is None:
        return ratio_columns(*_scores(scores, index, metric, chosen))
    groups = len(np.unique(scores.groups[chosen]))
    result = np.full((len(index), 1 + groups), np.nan)
    result[:, 0] = scores.metrics[metric].values[index][:, chosen][:, 0]
    for row, point in enumerate(index):
        if point in sets and len(sets[point].left_out) == groups:
            result[row, 1:] = sets[point].left_out
    return result


def _scores(scores: DomainScores, index: list[int], metric: tuple[str, str], chosen: Flags) -> Sums:
    ratings = scores.ratings.get(metric[0])
    if ratings is None:
        values = scores.metrics[metric].values[index]
        return scores.group_sums(values, chosen), scores.group_sums(np.ones(values.shape), chosen)
    given = ratings.values[index]
    rated = np.isfinite(given)
    return (
        scores.group_sums(np.where(rated, given, 0.0), chosen),
        scores.group_sums(rated.astype(float), chosen),
    )


def _bits(scores: DomainScores, index: list[int], rate: tuple[str, str], chosen: Flags) -> Sums:
    bits = scores.group_sums(scores.rates[rate].values[index], chosen) / 1000
    return bits, scores.group_sums(scores.seconds[index], chosen)


def _ratio(numerators: Array, denominators: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Array = np.where(denominators > 0, numerators / denominators, np.nan)
    return result
