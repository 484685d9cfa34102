"""Means and rates of the points of a curve, in the sample and in every resample of it.

The columns of every array here are one after the other: the sample itself; the sample without
each group (the jackknife); for scores that people gave, the sample without each listener; the
resamples. Whatever is computed from a column, be it a BD-rate, is then computed for all of them
at once, and `interval` makes value and interval of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.stats.intervals import (
    Factor,
    Interval,
    IntervalMethod,
    influences,
    intervals,
    standard_error,
)
from rdbench.resampling import resample_weights

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.arrays import DomainScores

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sampling:
    """How intervals are made; `seed` fixes every draw."""

    resamples: int = 2000
    seed: int = 0
    confidence: float = 0.95
    method: IntervalMethod = "studentised"


@dataclass(frozen=True)
class Design:
    """The columns: weights of groups and of listeners in each.

    groups: (columns, groups). listeners: (columns, listeners), or None where no one was asked.
    """

    groups: Array
    listeners: Array | None
    sampling: Sampling

    @property
    def group_count(self) -> int:
        """Groups of clips that are drawn."""
        return int(self.groups.shape[1])

    def interval(self, found: Array) -> Interval:
        """Intervals of statistics that were computed for all columns, (statistics, columns)."""
        drawn_from = len(self.groups) - self.sampling.resamples
        return intervals(
            found[:, 0],
            found[:, drawn_from:],
            self._factors(found),
            confidence=self.sampling.confidence,
            method=self.sampling.method,
        )

    def error(self, found: Array) -> Array:
        """The jackknife's standard error of such statistics, without any resample."""
        return standard_error(self._factors(found))

    def _factors(self, found: Array) -> list[Factor]:
        start = 1 + self.group_count
        drawn_from = len(self.groups) - self.sampling.resamples
        factors = [Factor(self.groups[drawn_from:], influences(found[:, 1:start]))]
        if self.listeners is not None:
            people = influences(found[:, start:drawn_from])
            factors.append(Factor(self.listeners[drawn_from:], people))
        return factors

    def resampled(self, found: Array) -> Array:
        """The columns that are resamples, (…, resamples)."""
        return found[..., len(self.groups) - self.sampling.resamples :]


def design(scores: DomainScores, chosen: Flags, key: str, sampling: Sampling) -> Design:
    """The columns for comparisons on the `chosen` clips (clips,) by the metric `key`."""
    asked = key if key in scores.ratings else ""
    groups = len(np.unique(scores.groups[chosen]))
    return scores.keep(
        ("design", groups, asked, sampling), lambda: _design(scores, groups, asked, sampling)
    )


def means(
    scores: DomainScores,
    points: Sequence[int],
    metric: tuple[str, str],
    chosen: Flags,
    columns: Design,
) -> Array:
    """Mean scores of the points, (points, columns)."""
    where = ("means", tuple(points), metric, chosen.tobytes(), columns.sampling)
    return scores.keep(where, lambda: _means(scores, list(points), metric, chosen, columns))


def kbps(
    scores: DomainScores,
    points: Sequence[int],
    rate: tuple[str, str],
    chosen: Flags,
    columns: Design,
) -> Array:
    """Rates of the points, total bits over total seconds, (points, columns), in kbps."""
    # Listeners add columns of their own.
    where = ("kbps", tuple(points), rate, chosen.tobytes(), columns.sampling, len(columns.groups))
    return scores.keep(where, lambda: _kbps(scores, list(points), rate, chosen, columns))


def _design(scores: DomainScores, groups: int, key: str, sampling: Sampling) -> Design:
    weights = scores.weights(groups, resamples=sampling.resamples, seed=sampling.seed)
    if not key:
        return Design(_stacked(groups, (groups,), 0, weights), None, sampling)
    people = len(scores.ratings[key].listeners)
    # Of their own seed: listeners and clips are drawn independently.
    drawn = resample_weights(people, resamples=sampling.resamples, seed=[sampling.seed, 7919])
    sizes = (groups, people)
    return Design(_stacked(groups, sizes, 0, weights), _stacked(people, sizes, 1, drawn), sampling)


def _means(
    scores: DomainScores, index: list[int], metric: tuple[str, str], chosen: Flags, columns: Design
) -> Array:
    ratings = scores.ratings.get(metric[0])
    if ratings is None or columns.listeners is None:
        sums = scores.group_sums(scores.metrics[metric].values[index], chosen)
        count = scores.group_sums(np.ones(len(chosen)), chosen)
        return _ratio(sums @ columns.groups.T, count @ columns.groups.T)
    given = ratings.values[index]
    rated = np.isfinite(given)
    sums = scores.group_sums(np.where(rated, given, 0.0), chosen)
    counts = scores.group_sums(rated.astype(float), chosen)
    return np.stack([
        _ratio(
            ((columns.listeners @ total) * columns.groups).sum(axis=1),
            ((columns.listeners @ count) * columns.groups).sum(axis=1),
        )
        for total, count in zip(sums, counts, strict=True)
    ])  # fmt: skip


def _kbps(
    scores: DomainScores, index: list[int], rate: tuple[str, str], chosen: Flags, columns: Design
) -> Array:
    bits = scores.group_sums(scores.rates[rate].values[index], chosen)
    seconds = scores.group_sums(scores.seconds[index], chosen)
    return _ratio(bits @ columns.groups.T, seconds @ columns.groups.T) / 1000


def _stacked(size: int, jackknives: Sequence[int], own: int, drawn: Array) -> Array:
    """Weights of one factor: the sample, each factor's jackknife (its own is one less), draws."""
    blocks = [np.ones((1, size))]
    for number, count in enumerate(jackknives):
        blocks.append(np.ones((count, size)) - (np.eye(size) if number == own else 0.0))
    return np.vstack([*blocks, drawn])


def _ratio(numerators: Array, denominators: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Array = np.where(denominators > 0, numerators / denominators, np.nan)
    return result
