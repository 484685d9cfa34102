"""What is set in bold: what is better, for sure, than all that costs no more.

A score is bold where no other point that can be transmitted, of at most its rate, is as good, and
where its difference to the best of them is significant: a paired test over the clips that both
have. Points of the same curve count as any other; a point is never bold where no other curve has a
point of at most its rate, since it is then better than nothing. Rates are those of the compared
clips. A KL is a bound, and no stream of that size is written, and a stated rate is nobody's
measurement: a point at one of these is neither bold nor a rival.

Which of its rivals is the best is itself seen in the numbers. A point is therefore held against
each of them, and its p is the largest (Berger, Multiparameter hypothesis testing and acceptance
sampling, Technometrics 24, 1982): that needs no correction for their number. All scores of a domain
that might have been bold are one family (Holm).

A BD-rate is bold where the curve needs fewer bits than every other curve with a number, a system
of one rate among them, and crosses none of them, each number resting on enough of both curves. The
tests of one table are corrected together (Holm), and the family is all pairs that might have been
tested.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import PointKey, by_domain
from rdbench.analysis.curves.measured import SAME_RATE
from rdbench.analysis.paired import holm, paired_p
from rdbench.report.cards import RESIDUAL_DELAY, RunCard, records
from rdbench.types import RateKind

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.arrays import DomainScores
    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

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
        given = {
            PointKey(*row): (str(kind), str(model))
            for *row, kind, model in inside[[*PointKey._fields, "rate_kind", "rate_backend"]]
            .drop_duplicates(list(PointKey._fields))
            .itertuples(index=False, name=None)
            if kind not in (RateKind.KL, RateKind.STATED)
        }
        claims, tests = _claims(scores, given, card)
        found[scores.domain] = (_proven(claims, tests), tests)
    return found


def best_curves(
    table: pd.DataFrame, domain: str, others: Mapping[str, pd.DataFrame]
) -> tuple[set[tuple[str, str, str]], int]:
    """(key, backend, curve) of the BD-rates of `domain` to set in bold, and how many tests.

    Curves at a stated rate are neither bold nor rivals.

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
            row.p
            if row.value > 0 and not row.crosses and not row.narrow and math.isfinite(row.p)
            else 1.0
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
    for side in ("rate_kind", "reference_rate_kind"):
        inside = inside[inside[side] != RateKind.STATED.value]
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
    scores: DomainScores, rates: Mapping[PointKey, tuple[str, str]], card: RunCard
) -> tuple[list[Claim], int]:
    """What may be bold, and how many scores there are that might have been."""
    sent = [i for i, p in enumerate(scores.points) if rates.get(p) in scores.rates]
    bits = np.full(scores.seconds.shape, np.nan)
    for i in sent:
        bits[i] = scores.rates[rates[scores.points[i]]].values[i]
    claims, tests = [], 0
    for metric, quantity in scores.metrics.items():
        direction = card.metrics[metric[0]].direction if metric[0] in card.metrics else ""
        if metric[0] == RESIDUAL_DELAY or direction not in ("higher", "lower"):
            continue
        sign = 1.0 if direction == "higher" else -1.0
        known = np.isfinite(quantity.values) & np.isfinite(bits) & (scores.seconds > 0)
        scored = [i for i in sent if known[i].any()]
        for index in scored:
            rivals = [r for r in scored if r != index and _no_dearer(scores, bits, known, r, index)]
            curve = scores.points[index].curve
            if any(scores.points[r].curve != curve for r in rivals):
                tests += 1
                p = _worst(scores, metric, index, rivals, sign)
                claims.append(Claim((scores.domain, *metric, scores.points[index]), (p,)))
    return claims, tests


def _no_dearer(scores: DomainScores, bits: Array, known: Flags, rival: int, index: int) -> bool:
    """Whether the rival has at most the point's rate, over the clips that both have."""
    both = known[rival] & known[index]
    # Where they share none, each has its own, and no test will set it in bold.
    clips = (both, both) if both.any() else (known[rival], known[index])
    one, two = (
        float(bits[i, has].sum() / scores.seconds[i, has].sum())
        for i, has in zip((rival, index), clips, strict=True)
    )
    return one <= two * (1 + SAME_RATE)


def _worst(
    scores: DomainScores,
    metric: tuple[str, str],
    index: int,
    rivals: list[int],
    sign: float,
) -> float:
    """The largest p of the point against its rivals; 1 as soon as it is not better than one."""
    values = scores.metrics[metric].values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no clip in common
        ahead = sign * np.nanmean(values[index] - values[rivals], axis=1) > 0
    if not ahead.all():
        return 1.0  # without a test: most points are not the best
    worst = 0.0
    for rival in rivals:
        difference, p = paired_p(scores, metric, index, rival)
        if not sign * difference > 0 or not math.isfinite(p):
            return 1.0
        worst = max(worst, p)
    return worst


def _proven(claims: Sequence[Claim], tests: int) -> set[tuple[str, str, str, PointKey]]:
    p = np.array([value for claim in claims for value in claim.p])
    adjusted = iter(holm(p, tests=tests).tolist())
    proven = set()
    for claim in claims:
        below = [next(adjusted) < LEVEL for _ in claim.p]
        if all(below):
            proven.add(claim.best)
    return proven
