"""How well metrics agree with listeners, on a run that has both.

For each scale on which people scored, and each metric, over pairs of a value and the mean of the
listeners' scores:

- `pearson`, `spearman`, `kendall` (τ_b): 1 where the metric orders as listeners do, whichever way
  of it is better, so that a distance that falls as scores rise has 1 too;
- `rmse`: what is left, on the listeners' scale, after the best cubic without a turn
  (`rdbench.analysis.listeners.mapping`), √(Σ (score - mapped)² / (pairs - 4)) (ITU-T P.1401).

Pairs are of clips (each point on each clip), or of systems (each point's means over the clips that
have both, where these are half of the rated clips or more). What people gave differs as clips do
and as people do, so intervals draw groups of clips and, independently, listeners, as for listeners'
scores (`ratings`); the systems are those of the test, and are not drawn. A replicate holds fewer
different clips and people than the test, so its scores are noisier and it agrees less than the test
did; how much is seen in the share of replicates below the value, and intervals are corrected for
it: their ends are the quantiles Φ(2 z₀ ± 1.96) of replicates, where Φ(z₀) is that share (Efron, The
jackknife, the bootstrap and other resampling plans, 1982, 10.7).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import LEAST_SCORED, RESIDUAL_DELAY, DomainScores, by_domain
from rdbench.analysis.listeners.mapping import COEFFICIENTS, monotone_cubic
from rdbench.resampling import domain_seed, resample_weights
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.arrays import Ratings
    from rdbench.analysis.runs import Run
    from rdbench.analysis.sets import SetScore

    Array = npt.NDArray[np.float64]
    Places = npt.NDArray[np.int_]

STATISTICS = ("pearson", "spearman", "kendall", "rmse")
LEVELS = ("system", "clip")
AGREEMENT_COLUMNS = [
    "domain", "scale", "level", "metric", "backend", "n",
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")),
]  # fmt: skip
PAIR_COLUMNS = [
    "domain", "scale", "level", "metric", "backend", "system", "curve", "point", "variant", "clip",
    "value", "score",
]  # fmt: skip
RESAMPLES = 1000
FEWEST = 3
_CELLS = 2**31  # pairs of pairs that are looked at for one metric, over all draws
_LISTENERS = 1  # the second part of the seed of the draws of people


def agreement(
    run: Run, *, metrics: Sequence[str] = (), resamples: int = RESAMPLES, confidence: float = 0.95
) -> pd.DataFrame:
    """One row per domain, scale, level and metric, `AGREEMENT_COLUMNS`, least `rmse` first.

    metrics: only these keys; all without. n: pairs. NaN where there is no number: fewer than three
    pairs (for `rmse`, five), values that are all the same, an end of an interval without two
    groups of clips.

    Raises RdbenchError for a run that nobody's scores were imported into, and for a metric that it
    does not have.
    """
    import pandas as pd

    rows = []
    for scores, scale, key, sign in _compared(run, metrics):
        drawn = _Draws(scores, scores.ratings[scale], resamples)
        values = sign * scores.metrics[key].values
        sets = scores.metrics[key].sets
        for level in _levels(sets):
            row: dict[str, object] = dict(
                zip(AGREEMENT_COLUMNS, (scores.domain, scale, level, *key), strict=False)
            )
            pairs = drawn.pairs(values, level)
            row["n"] = len(pairs[0])
            found = statistics(*pairs)
            again = drawn.replicates(values, level, sign, sets)
            ends = _ends(found, again, confidence)
            for name, value, (low, high) in zip(STATISTICS, found, ends, strict=True):
                row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    table = pd.DataFrame(rows, columns=AGREEMENT_COLUMNS)
    place = table["level"].map(LEVELS.index)
    domains = table["domain"].map(list(dict.fromkeys(table["domain"])).index)
    order = table.assign(place=place, domains=domains)
    order = order.sort_values(["domains", "scale", "place", "rmse"], kind="stable")
    return table.loc[order.index].reset_index(drop=True)


def paired_scores(run: Run, *, metrics: Sequence[str] = ()) -> pd.DataFrame:
    """The pairs that `agreement` compares, `PAIR_COLUMNS`; clip is "" for those of systems."""
    import pandas as pd

    tables = []
    for scores, scale, key, _ in _compared(run, metrics):
        drawn = _Draws(scores, scores.ratings[scale], 0)
        values = scores.metrics[key].values
        for level in _levels(scores.metrics[key].sets):
            points, clips = drawn.places(values, level)
            value, score, _ = drawn.pairs(values, level)
            table = pd.DataFrame([scores.points[p] for p in points], columns=PAIR_COLUMNS[5:9])
            table["clip"] = [scores.clips[c] if c >= 0 else "" for c in clips]
            named = zip(PAIR_COLUMNS, (scores.domain, scale, level, *key), strict=False)
            tables.append(table.assign(value=value, score=score, **dict(named)))
    return pd.concat(tables, ignore_index=True)[PAIR_COLUMNS]


def statistics(values: Array, scores: Array, weights: Array) -> tuple[float, ...]:
    """`STATISTICS` of pairs; each (pairs,), weights: how often a pair counts.

    NaN where there is none. Ranks of ties are their mean; copies of one pair are ties in both.
    """
    there = weights > 0
    values, scores, weights = values[there], scores[there], weights[there]
    if len(values) < FEWEST or np.ptp(values) == 0 or np.ptp(scores) == 0:
        return (math.nan,) * len(STATISTICS)
    ranks = _ranks(values, weights), _ranks(scores, weights)
    return (
        _pearson(values, scores, weights),
        _pearson(*ranks, weights),
        _kendall(values, scores, weights),
        _rmse(values, scores, weights),
    )


def _pearson(first: Array, second: Array, weights: Array) -> float:
    first = first - np.average(first, weights=weights)
    second = second - np.average(second, weights=weights)
    shared = (weights * first * second).sum()
    return float(shared / math.sqrt((weights * first**2).sum() * (weights * second**2).sum()))


def _ranks(values: Array, weights: Array) -> Array:
    """Mid-ranks of what stands there as often as its weight says."""
    _, place = np.unique(values, return_inverse=True)
    counts = np.bincount(place, weights=weights)
    ranks: Array = (np.cumsum(counts) - counts / 2)[place]
    return ranks


def _kendall(first: Array, second: Array, weights: Array) -> float:
    signs = [np.sign(one[:, None] - one) for one in (first, second)]
    shared = weights @ (signs[0] * signs[1]) @ weights
    untied = [weights @ np.abs(sign) @ weights for sign in signs]
    return float(shared / math.sqrt(untied[0] * untied[1]))


def _rmse(values: Array, scores: Array, weights: Array) -> float:
    count = weights.sum()
    if len(values) <= COEFFICIENTS:
        return math.nan
    left = scores - monotone_cubic(values, scores, weights)(values)
    return float(math.sqrt((weights * left**2).sum() / (count - COEFFICIENTS)))


def _compared(
    run: Run, metrics: Sequence[str]
) -> Iterator[tuple[DomainScores, str, tuple[str, str], int]]:
    """Every domain with each scale and metric there is, and the metric's direction as a sign."""
    if run.ratings is None:
        raise RdbenchError(
            f"{run.name} holds no listeners' scores; import them with `rdbench import-scores`"
        )
    known = {
        key
        for scores in by_domain(run)
        for key, _ in scores.metrics
        if key not in scores.ratings and key != RESIDUAL_DELAY
    }
    for key in metrics:
        if key not in known:
            raise RdbenchError(
                f"{run.name} has no metric {key!r} beside the listeners' scores; it has "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    wanted = set(metrics) or known
    for scores in by_domain(run):
        for scale in scores.ratings:
            for metric in scores.metrics:
                if metric[0] in wanted and metric[0] in known:
                    towards = run.direction(metric[0]) == run.direction(scale)
                    yield scores, scale, metric, 1 if towards else -1


class _Draws:
    """The listeners' scores of a domain, as they are and as they would be with others drawn."""

    def __init__(self, scores: DomainScores, ratings: Ratings, resamples: int) -> None:
        self._given = np.nan_to_num(ratings.values)
        self._rated = np.isfinite(ratings.values).astype(float)
        people, clips = ratings.values.shape[1:]
        rated = self._rated.any(axis=(0, 1))
        groups = int(scores.groups.max(initial=-1)) + 1
        self._enough = len(np.unique(scores.groups[rated])) > 1
        self._resamples = resamples
        self._groups, self._domain, self._of_clip = groups, scores.domain, scores.groups
        self._people, self._clips = people, clips
        self._scores = self._mean(np.ones(people))

    def _mean(self, people: Array) -> Array:
        """The mean score of each point and clip (points, clips), NaN where nobody gave one."""
        count = np.einsum("plc,l->pc", self._rated, people)
        total = np.einsum("plc,l->pc", self._given, people)
        return np.where(count > 0, total / np.maximum(count, 1e-300), np.nan)

    def places(self, values: Array, level: str) -> tuple[Places, Places]:
        """Point and clip of each pair; clip is -1 for those of systems."""
        both = np.isfinite(values) & np.isfinite(self._scores)
        if level == "clip":
            points, clips = np.nonzero(both)
            return points, clips
        rated = np.isfinite(self._scores).sum(axis=1)
        points = np.flatnonzero((both.sum(axis=1) >= LEAST_SCORED * rated) & (rated > 0))
        return points, np.full(len(points), -1)

    def pairs(
        self, values: Array, level: str, clips: Array | None = None, people: Array | None = None
    ) -> tuple[Array, Array, Array]:
        """Values, scores and weights, each (pairs,); clips, people: how often each is drawn."""
        points, columns = self.places(values, level)
        scores = self._scores if people is None else self._mean(people)
        weights = np.ones(self._clips) if clips is None else clips
        both = np.isfinite(values) & np.isfinite(scores)
        if level == "clip":
            given = np.where(both, weights, 0.0)[points, columns]
            return values[points, columns], np.nan_to_num(scores[points, columns]), given
        shares = np.where(both, weights, 0.0)[points]
        total = shares.sum(axis=1)
        value, score = (
            (np.nan_to_num(one[points]) * shares).sum(axis=1) / np.maximum(total, 1e-300)
            for one in (values, scores)
        )
        return value, score, (total > 0).astype(float)

    def replicates(
        self, values: Array, level: str, sign: int, sets: Mapping[int, SetScore] | None
    ) -> Array:
        """`STATISTICS` under each draw, (resamples, 4); none without two groups of clips.

        sets: of a metric of sets, whose values change with the draw, too; sign: theirs.
        """
        pairs = len(self.places(values, level)[0])
        draws = min(self._resamples, max(100, _CELLS // max(pairs, 1) ** 2))
        if not self._enough or pairs < FEWEST:
            return np.empty((0, len(STATISTICS)))
        by_group = resample_weights(
            self._groups, resamples=draws, seed=domain_seed(0, self._domain)
        )
        people = np.ones((draws, self._people))
        if self._people > 1:
            people = resample_weights(self._people, resamples=draws, seed=[0, _LISTENERS])
        return np.array(
            [
                statistics(
                    *self.pairs(
                        values if sets is None else _redrawn(values, sign, sets, draw),
                        level,
                        clips[self._of_clip],
                        who,
                    )
                )
                for draw, (clips, who) in enumerate(zip(by_group, people, strict=True))
            ]
        )


def _levels(sets: Mapping[int, SetScore] | None) -> tuple[str, ...]:
    """At which levels a metric has pairs: one of sets has no value of a clip."""
    return LEVELS if sets is None else LEVELS[:1]


def _redrawn(values: Array, sign: int, sets: Mapping[int, SetScore], draw: int) -> Array:
    """The values of sets in one draw of the groups, which are those of `resample_weights`."""
    made = values.copy()
    for point, one in sets.items():
        replicate = sign * one.drawn[draw] if draw < len(one.drawn) else np.nan
        made[point] = np.where(np.isfinite(values[point]), replicate, np.nan)
    return made


def _ends(
    found: tuple[float, ...], replicates: Array, confidence: float
) -> list[tuple[float, float]]:
    """The interval of each statistic, NaN where half of the replicates have no value."""
    from scipy.special import ndtr, ndtri

    ends = []
    for value, column in zip(found, replicates.T, strict=True):
        there = column[np.isfinite(column)]
        if not math.isfinite(value) or 2 * len(there) < len(column) or not len(there):
            ends.append((math.nan, math.nan))
            continue
        below = (there < value).mean() + (there == value).mean() / 2
        shift = ndtri(np.clip(below, 0.5 / len(there), 1 - 0.5 / len(there)))
        reach = ndtri((1 + confidence) / 2)
        low, high = np.quantile(there, ndtr(2 * shift + np.array([-reach, reach])))
        ends.append((float(low), float(high)))
    return ends
