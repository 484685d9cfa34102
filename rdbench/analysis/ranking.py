"""Which curves are better than which: ranks only where differences are significant.

Curves of one domain are ranked by one metric and one kind of rate; kinds are never pooled. Every
pair of them is compared on its common clips:

    one or both have several rates    BD-rate, or the change in rate at the one quality; where the
                                      curves have little quality in common, BD-quality
    both have one rate                the paired difference of the scores; who is better must not
                                      need more than 10 % more bits

and all p-values of one ranking are corrected together (Holm). A pair is won where that p is below
`LEVEL`, alike where it is not or where the curves cross, and open where it cannot be compared:
the curves overlap neither in quality nor in rate, or over little of one, or have a gap there; or
they are single rates over 10 % apart, and neither score is better for sure.

A curve is behind those that beat it, by themselves or by others that they beat, unless arrows from
the winner to the loser, and both ways between two that are alike, lead from it to them as well. Its
rank is a range: 1 + how many it is behind, to how many are not behind it. Ranges of curves that do
not differ significantly overlap, and what is open widens them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from rdbench.analysis.arrays import DomainScores, by_domain
from rdbench.analysis.curves.bd_rate import AT_POINT, pair_rows
from rdbench.analysis.curves.measured import chosen_metrics
from rdbench.analysis.curves.sides import Side, curve_names, decodable_side, headline_side, usable
from rdbench.analysis.paired import NEAR, PointPair, difference, holm
from rdbench.analysis.stats.leave_one_out import Sampling

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.runs import Run

LEVEL = 0.05
TOO_LITTLE = "refused: they overlap over too little of a curve, or across a gap in one"
UNDECIDED = "refused: neither score is better for sure, and one needs over 10 % more bits"
NO_SHARES = Sampling(resamples=1)  # in what share of resamples curves cross decides nothing here
Verdict = Literal["first", "second", "alike", "open"]


@dataclass(frozen=True)
class Duel:
    """One pair of curves, by their numbers in the ranking.

    value, low, high: of the first against the second. quantity: "bits", the change in percent at
    equal quality (negative: fewer), or "quality", the difference at equal bits in the metric's
    unit. p: corrected (Holm). reason: why it is open.
    """

    first: int
    second: int
    verdict: Verdict
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    quantity: Literal["bits", "quality"] = "bits"
    p: float = math.nan
    crosses: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Ranking:
    """The curves of a domain under one kind of rate, by one metric.

    kbps: per curve its lowest and highest rate. ranks: the best and the worst that a curve may have
    (1 is best), None where nothing could be compared with it. refused: by curve, why it is not
    ranked.
    """

    domain: str
    kind: str
    metric: tuple[str, str]
    curves: tuple[str, ...]
    kbps: tuple[tuple[float, float], ...]
    ranks: tuple[tuple[int, int] | None, ...]
    duels: tuple[Duel, ...]
    refused: tuple[tuple[str, str], ...] = ()


def rankings(run: Run) -> Iterator[Ranking]:
    """Every ranking of `run`: by domain, kind of rate and metric, in the run's order.

    A latent is ranked by its KL, and apart from that by its first decodable stream; tokens
    likewise by nominal and by entropy-coded bits. Raises RdbenchError for a metric of which the
    manifest does not say which way is better.
    """
    for scores in by_domain(run):
        for kind, sides in _sections(run, scores).items():
            for metric in chosen_metrics(scores, None):
                found = _ranking(run, scores, kind, metric, sides)
                if found.curves:
                    yield found


def _sections(run: Run, scores: DomainScores) -> dict[str, list[Side]]:
    """The curves by kind of rate."""
    found: dict[str, list[Side]] = {}
    headlines = run.headlines
    for name in curve_names(scores, headlines):
        side = headline_side(scores, headlines, name)
        found.setdefault(side.rate[0], []).append(side)
        stream = decodable_side(scores, side)
        if stream.rate[0] != side.rate[0] and not stream.refusal:
            found.setdefault(stream.rate[0], []).append(stream)
    return found


def _ranking(
    run: Run, scores: DomainScores, kind: str, metric: tuple[str, str], sides: Sequence[Side]
) -> Ranking:
    sides = [usable(scores, side, metric) for side in sides]
    refused = tuple((side.curve, side.refusal) for side in sides if side.refusal)
    chosen = [side for side in sides if not side.refusal]
    kbps = tuple(_extent(scores, side) for side in chosen)
    duels = []
    for one, two in combinations(range(len(chosen)), 2):
        if len(chosen[one].points) == len(chosen[two].points) == 1:
            duel = _at_points(run, scores, metric, chosen, (one, two))
        else:
            duel = _by_curves(run, scores, metric, chosen, (one, two))
        duels.append(duel)
    duels = [_decided(duel, kbps) for duel in _corrected(duels)]
    curves = tuple(side.curve for side in chosen)
    ranks = _ranks(len(curves), duels)
    return Ranking(scores.domain, kind, metric, curves, kbps, ranks, tuple(duels), refused)


def _by_curves(
    run: Run,
    scores: DomainScores,
    metric: tuple[str, str],
    sides: Sequence[Side],
    pair: tuple[int, int],
) -> Duel:
    """The first against the second: bits at equal quality, or else quality at equal bits."""
    first, second = (sides[number] for number in pair)
    rows = pair_rows(
        run, scores, metric, (second, first), basis="headline",
        asked=[("bd_rate", "pchip"), ("bd_quality", "pchip")], how=NO_SHARES,
    )  # fmt: skip
    by_bits = rows[-1] if rows[-1]["quantity"] == AT_POINT else rows[0]
    sound = [row for row in (by_bits, rows[1]) if not row["reason"] and not row["narrow"]]
    if not sound:
        return Duel(*pair, "open", reason=str(by_bits["reason"]) or TOO_LITTLE)
    row = sound[0]
    quantity: Literal["bits", "quality"] = "bits" if row is by_bits else "quality"
    fewer = quantity == "bits" or row["better"] == "lower"
    gains = (row["value"] < 0) == fewer
    verdict: Verdict = "alike" if row["crosses"] else "first" if gains else "second"
    return Duel(
        *pair, verdict, row["value"], row["low"], row["high"], quantity, row["p"],
        bool(row["crosses"]),
    )  # fmt: skip


def _at_points(
    run: Run,
    scores: DomainScores,
    metric: tuple[str, str],
    sides: Sequence[Side],
    pair: tuple[int, int],
) -> Duel:
    """The paired difference of two systems of one rate each."""
    first, second = (sides[number] for number in pair)
    points = PointPair(first.points[0], second.points[0])
    better = run.direction(metric[0])
    row = difference(scores, metric, points, better, 0.95)
    rates = _extent(scores, first)[0], _extent(scores, second)[0]
    gains = (row["difference"] > 0) == (better == "higher")
    verdict: Verdict = "first" if gains else "second"
    ratio = rates[0] / rates[1] if gains else rates[1] / rates[0]
    reason = str(row["reason"])
    if not reason and not ratio <= 1 + NEAR:
        reason = "refused: the one with the better score needs over 10 % more bits"
    return Duel(
        *pair, "open" if reason else verdict, row["difference"], row["low"], row["high"],
        "quality", row["p"], reason=reason,
    )  # fmt: skip


def _corrected(duels: Sequence[Duel]) -> list[Duel]:
    """With p over all that were compared, and nobody winning by chance."""
    open_ = np.array([duel.verdict == "open" for duel in duels], dtype=bool)
    p = np.where(open_, np.nan, np.array([duel.p for duel in duels], dtype=float))
    found = []
    for duel, corrected in zip(duels, holm(p).tolist(), strict=True):
        won = duel.verdict in ("first", "second") and corrected < LEVEL
        verdict: Verdict = duel.verdict if won or duel.verdict == "open" else "alike"
        found.append(replace(duel, p=corrected, verdict=verdict))
    return found


def _decided(duel: Duel, kbps: Sequence[tuple[float, float]]) -> Duel:
    """With a pair of single rates far apart open, where the sign of noise alone would decide."""
    rates = [*kbps[duel.first], *kbps[duel.second]]
    single = rates[0] == rates[1] and rates[2] == rates[3]
    if duel.verdict != "alike" or not single or max(rates) <= (1 + NEAR) * min(rates):
        return duel
    return replace(duel, verdict="open", reason=UNDECIDED)


def _ranks(count: int, duels: Sequence[Duel]) -> tuple[tuple[int, int] | None, ...]:
    """See the module.

    >>> duels = [Duel(0, 1, "first"), Duel(1, 2, "alike"), Duel(0, 2, "first"), Duel(2, 3, "open")]
    >>> _ranks(3, duels[:3]), _ranks(4, duels)
    (((1, 1), (2, 3), (2, 3)), ((1, 2), (2, 4), (2, 4), None))
    >>> _ranks(3, [Duel(0, 1, "first"), Duel(1, 2, "alike"), Duel(0, 2, "open")])
    ((1, 2), (2, 3), (1, 3))
    """
    wins: npt.NDArray[np.bool_] = np.zeros((count, count), dtype=bool)
    reach: npt.NDArray[np.bool_] = np.eye(count, dtype=bool)
    compared = np.zeros(count, dtype=bool)
    for duel in duels:
        compared[[duel.first, duel.second]] |= duel.verdict != "open"
        wins[duel.first, duel.second] |= duel.verdict == "first"
        wins[duel.second, duel.first] |= duel.verdict == "second"
        reach[duel.first, duel.second] |= duel.verdict in ("first", "alike")
        reach[duel.second, duel.first] |= duel.verdict in ("second", "alike")
    for middle in range(count):
        wins |= wins[:, middle, None] & wins[None, middle]
        reach |= reach[:, middle, None] & reach[None, middle]
    ahead = wins & ~reach.T
    best, worst = 1 + ahead.sum(axis=0), count - ahead.sum(axis=1)
    return tuple(
        (int(one), int(two)) if known else None
        for one, two, known in zip(best, worst, compared, strict=True)
    )


def _extent(scores: DomainScores, side: Side) -> tuple[float, float]:
    """The lowest and the highest rate of a curve in kbps, over the clips that have it."""
    found = []
    for point in side.points:
        bits, seconds = scores.rates[side.rate].values[point], scores.seconds[point]
        known = np.isfinite(bits) & (seconds > 0)
        found.append(float(bits[known].sum() / seconds[known].sum() / 1000))
    return min(found), max(found)
