"""What is set in bold: the best of what may be compared, where it is better for sure.

A score is bold where it is better than that of every point of another curve at the same rate
(within 10 %), each by a paired test over groups of clips; points without such a neighbour are
never bold. A BD-rate is bold where the curve needs fewer bits than every other curve with a
BD-rate, and crosses none of them. All tests of one table are corrected together (Holm), and the
family is all pairs that might have been tested, since the best is chosen by looking at the numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import PointKey, by_domain
from rdbench.analysis.paired import NEAR, holm, paired_p
from rdbench.report.cards import RESIDUAL_DELAY, RunCard, records

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.arrays import DomainScores
    from rdbench.analysis.runs import Run

LEVEL = 0.05


@dataclass(frozen=True)
class Claim:
    """That `best` is better than each of its rivals: a p-value per rival."""

    best: tuple[str, str, str, PointKey]
    p: tuple[float, ...]


def best_scores(
    run: Run, rates: pd.DataFrame, card: RunCard
) -> dict[str, tuple[set[tuple[str, str, str, PointKey]], int]]:
    """Per domain the scores (domain, key, backend, point) to set in bold, and how many tests.

    rates: of `rdbench.analysis.aggregate.rate_distortion`.
    """
    found = {}
    for scores in by_domain(run):
        inside = rates[(rates["domain"] == scores.domain) & rates["rate_point"]]
        kbps = {
            PointKey(*row): value
            for *row, value in inside[[*PointKey._fields, "kbps"]]
            .drop_duplicates()
            .itertuples(index=False, name=None)
        }
        claims, tests = _claims(scores, kbps, card)
        found[scores.domain] = (_proven(claims, tests), tests)
    return found


def best_curves(
    table: pd.DataFrame, domain: str, others: Mapping[str, pd.DataFrame]
) -> tuple[set[tuple[str, str, str]], int]:
    """(key, backend, curve) of the BD-rates of `domain` to set in bold, and how many tests.

    table: BD-rates against one curve, by PCHIP and headline rates. others: the same against other
    curves, by name, from `needed_references`.
    """
    tests, claims = 0, []
    for (key, backend), part in _by_metric(table, domain):
        best, rivals = _best_curve(part)
        tests += math.comb(len(rivals) + 1, 2)
        against = others.get(best)
        if against is None or not rivals:
            continue
        rows = against[
            (against["domain"] == domain)
            & (against["key"] == key)
            & (against["backend"] == backend)
            & (against["reason"] == "")
        ]
        p = [
            row.p if row.value > 0 and not row.crosses and math.isfinite(row.p) else 1.0
            for row in records(rows)
            if row.curve in rivals
        ]
        if len(p) == len(rivals):
            claims.append(Claim((domain, key, backend, PointKey("", best, "", "")), tuple(p)))
    proven = _proven(claims, tests)
    return {(key, backend, point.curve) for _, key, backend, point in proven}, tests


def needed_references(table: pd.DataFrame) -> dict[str, list[str]]:
    """Which curves have the best BD-rate of which metrics: what `best_curves` needs."""
    found: dict[str, list[str]] = {}
    for domain in dict.fromkeys(table["domain"]):
        for (key, _), part in _by_metric(table, domain):
            best, rivals = _best_curve(part)
            if rivals and key not in found.setdefault(best, []):
                found[best].append(key)
    return {curve: keys for curve, keys in found.items() if keys}


def _by_metric(table: pd.DataFrame, domain: str) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    inside = table[(table["domain"] == domain) & (table["reason"] == "")]
    return [
        ((str(key), str(backend)), part)
        for (key, backend), part in inside.groupby(["key", "backend"], sort=False)
    ]


def _best_curve(part: pd.DataFrame) -> tuple[str, set[str]]:
    """The curve that needs the fewest bits, the reference among them, and all others."""
    values = {str(row.curve): float(row.value) for row in records(part)}
    values[str(part["reference"].iloc[0])] = 0.0
    best = min(values, key=values.__getitem__)
    return best, set(values) - {best}


def _claims(
    scores: DomainScores, kbps: Mapping[PointKey, float], card: RunCard
) -> tuple[list[Claim], int]:
    known = [i for i, point in enumerate(scores.points) if kbps.get(point, 0) > 0]
    near: dict[int, list[int]] = {i: [] for i in known}
    for one, two in itertools.combinations(known, 2):
        points = scores.points[one], scores.points[two]
        ratio = kbps[points[0]] / kbps[points[1]]
        if points[0].curve != points[1].curve and abs(math.log(ratio)) <= math.log1p(NEAR):
            near[one].append(two)
            near[two].append(one)
    claims, tests = [], 0
    for metric, quantity in scores.metrics.items():
        direction = card.metrics[metric[0]].direction if metric[0] in card.metrics else ""
        if metric[0] == RESIDUAL_DELAY or direction not in ("higher", "lower"):
            continue
        sign = 1.0 if direction == "higher" else -1.0
        scored = np.isfinite(quantity.values)
        mean = [
            sign * float(values[has].mean()) if has.any() else math.nan
            for values, has in zip(quantity.values, scored, strict=True)
        ]
        tests += sum(len(rivals) for rivals in near.values()) // 2
        for index, rivals in near.items():
            others = [r for r in rivals if math.isfinite(mean[r])]
            if others and mean[index] > max(mean[r] for r in others):
                p = tuple(_better(scores, metric, index, r, sign) for r in others)
                claims.append(Claim((scores.domain, *metric, scores.points[index]), p))
    return claims, tests


def _better(
    scores: DomainScores, metric: tuple[str, str], index: int, rival: int, sign: float
) -> float:
    """P of a paired test, 1 where the difference goes the other way or cannot be tested."""
    difference, p = paired_p(scores, metric, index, rival)
    return p if sign * difference > 0 and math.isfinite(p) else 1.0


def _proven(claims: Sequence[Claim], tests: int) -> set[tuple[str, str, str, PointKey]]:
    p = np.array([value for claim in claims for value in claim.p])
    adjusted = iter(holm(p, tests=tests).tolist())
    proven = set()
    for claim in claims:
        below = [next(adjusted) < LEVEL for _ in claim.p]
        if all(below):
            proven.add(claim.best)
    return proven
