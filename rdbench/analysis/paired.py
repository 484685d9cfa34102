"""Single points against each other: paired differences over the same clips.

For a metric with values x_c of one point and y_c of the other on clip c, the difference is
mean(x_c − y_c) over the clips that both have; its interval and p-value are those of
`rdbench.analysis.stats.intervals`, whose unit is the group of clips. The win rate is the share of
clips on which the point is better than the other, ties counting half. Values of sets of clips are
compared where both are of the same clips, and have no win rate.

Many tests find something by chance: `holm` holds the probability of one false alarm among all tests
of a table at the stated level (Holm, A simple sequentially rejective multiple test procedure,
Scandinavian Journal of Statistics 6, 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import DomainScores, PointKey, by_domain
from rdbench.analysis.curves.measured import chosen_metrics
from rdbench.analysis.curves.sides import curve_names, headline_side, require_curve
from rdbench.analysis.rate_model import preference
from rdbench.analysis.stats.intervals import Spread, intervals, p_two_sided
from rdbench.analysis.stats.leave_one_out import columns_of, means
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

PAIR_COLUMNS = [
    "domain", "key", "backend", "better", "system", "point", "variant", "reference_system",
    "reference_point", "reference_variant", "kbps", "reference_kbps", "rate_kind",
    "reference_rate_kind", "value", "reference_value", "difference", "low", "high", "unit",
    "win_rate", "n_better", "n_equal", "n_worse", "p", "p_holm", "n_clips", "n_total", "n_groups",
    "note", "reason",
]  # fmt: skip
CLIP_COLUMNS = [
    "domain", "key", "backend", "better", "system", "point", "variant", "reference_system",
    "reference_point", "reference_variant", "end", "rank", "clip", "group", "value",
    "reference_value", "difference", "unit",
]  # fmt: skip
# Points whose rates differ by more are not set against each other unless asked for.
NEAR = 0.10


@dataclass(frozen=True)
class PointPair:
    """Numbers of two points of a domain: the point, and the one that it is held against."""

    test: int
    reference: int


def paired_table(
    run: Run,
    *,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Paired differences, point − reference point; columns `PAIR_COLUMNS`.

    pairs: names such as ("lyra/6", "opus/8"), SYSTEM/POINT or SYSTEM/POINT/VARIANT. Without them
    every transmitted point is set against the point of the curve `reference` that is nearest in
    headline rate, where one lies within 10 %. difference, low, high in the metric's unit; win_rate
    0 … 1; kbps at the headline rate over the compared clips, NaN where a point has none. p_holm is
    corrected over all rows of the table. NaN and a reason where there is nothing to compare.

    Raises RdbenchError for a curve or a point that is not there.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scores, chosen in _pairs(run, reference, pairs):
        headlines = run.headlines
        for metric in chosen_metrics(scores, metrics):
            for pair in chosen:
                rows.append(
                    _shared(run, scores, metric, pair)
                    | _rates(scores, metric, pair, headlines)
                    | _difference(scores, metric, pair, run.direction(metric[0]), confidence)
                )
    table = pd.DataFrame(rows, columns=PAIR_COLUMNS)
    table["p_holm"] = holm(table["p"].to_numpy(float))
    return table


def clip_table(
    run: Run,
    *,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    metrics: Sequence[str] | None = None,
    count: int = 3,
) -> pd.DataFrame:
    """The clips that change most, best and worst; columns `CLIP_COLUMNS`.

    end: "best" or "worst", rank from 1; clip: its path in the corpus. Arguments as in
    `paired_table`.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scores, chosen in _pairs(run, reference, pairs):
        names = _group_names(run, scores)
        for metric in chosen_metrics(scores, metrics):
            if scores.metrics[metric].sets is not None:
                continue
            values = scores.metrics[metric].values
            sign = 1.0 if run.direction(metric[0]) == "higher" else -1.0
            for pair in chosen:
                change = values[pair.test] - values[pair.reference]
                known = np.flatnonzero(np.isfinite(change))
                order = known[np.argsort(-sign * change[known], kind="stable")]
                for end, index in (("best", order[:count]), ("worst", order[::-1][:count])):
                    for rank, c in enumerate(index, start=1):
                        rows.append(
                            _shared(run, scores, metric, pair)
                            | {
                                "end": end, "rank": rank, "clip": scores.clips[c],
                                "group": names.get(scores.clips[c], ""),
                                "value": values[pair.test, c],
                                "reference_value": values[pair.reference, c],
                                "difference": change[c],
                            }
                        )  # fmt: skip
    return pd.DataFrame(rows, columns=CLIP_COLUMNS)


def holm(p: Array, *, tests: int = 0) -> Array:
    """Holm's adjusted p-values; NaN stays NaN and is not counted as a test.

    tests: the size of the family where `p` are only some of its tests; the result is then on the
    safe side.

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    result = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = max(tests, len(order)) - np.arange(len(order))
    result[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return result


def _pairs(
    run: Run, reference: str | None, named: Sequence[tuple[str, str]]
) -> list[tuple[DomainScores, list[PointPair]]]:
    parts = by_domain(run)
    if named:
        return _named_pairs(parts, named)
    headlines = run.headlines
    known = [name for scores in parts for name in curve_names(scores, headlines)]
    if reference is None:
        raise RdbenchError("give the curve to compare with (--anchor) or pairs of points")
    require_curve(reference, list(dict.fromkeys(known)))
    return [(scores, _near_pairs(scores, headlines, reference)) for scores in parts]


def _named_pairs(
    parts: Sequence[DomainScores], named: Sequence[tuple[str, str]]
) -> list[tuple[DomainScores, list[PointPair]]]:
    found: list[tuple[DomainScores, list[PointPair]]] = [(scores, []) for scores in parts]
    for names in named:
        for scores, pairs in found:
            test, other = (scores.find(name) for name in names)
            if test is not None and other is not None:
                pairs.append(PointPair(test, other))
        for name in names:
            if all(scores.find(name) is None for scores in parts):
                raise RdbenchError(
                    f"there is no point {name!r}; name it SYSTEM/POINT or SYSTEM/POINT/VARIANT, "
                    f"such as {_example(parts)!r}"
                )
    return found


def _example(parts: Sequence[DomainScores]) -> str:
    point: PointKey = parts[0].points[0]
    return f"{point.system}/{point.point}"


def _near_pairs(
    scores: DomainScores, headlines: Mapping[str, str | None], reference: str
) -> list[PointPair]:
    names = curve_names(scores, headlines)
    if reference not in names:
        return []
    rates = _headline_rates(scores, headlines)
    base = [i for i in headline_side(scores, headlines, reference).points if i in rates]
    found = []
    for name in names:
        if name == reference:
            continue
        for point in headline_side(scores, headlines, name).points:
            if point not in rates or not base:
                continue
            nearest = min(base, key=lambda i: abs(np.log(rates[i] / rates[point])))
            if abs(np.log(rates[nearest] / rates[point])) <= np.log1p(NEAR):
                found.append(PointPair(point, nearest))
    return found


def _headline_rates(
    scores: DomainScores,
    headlines: Mapping[str, str | None],
    points: Sequence[int] | None = None,
    chosen: Flags | None = None,
) -> dict[int, float]:
    """Rates in kbps per point at its headline rate, over the clips that have it.

    points: these alone, by default all. chosen: over these clips alone, (clips,).
    """
    found: dict[int, float] = {}
    for kind, model in sorted(scores.rates, key=lambda rate: preference(rate[1])):
        quantity = scores.rates[kind, model]
        for i in range(len(scores.points)) if points is None else points:
            if headlines.get(scores.points[i].system) != kind or i in found:
                continue
            known = np.isfinite(quantity.values[i]) & (scores.seconds[i] > 0)
            known &= True if chosen is None else chosen
            bits, seconds = quantity.values[i, known].sum(), scores.seconds[i, known].sum()
            if bits > 0:
                found[i] = float(bits / seconds / 1000)
    return found


def _shared(
    run: Run, scores: DomainScores, metric: tuple[str, str], pair: PointPair
) -> dict[str, Any]:
    test, other = scores.points[pair.test], scores.points[pair.reference]
    return {
        "domain": scores.domain, "key": metric[0], "backend": metric[1],
        "better": run.direction(metric[0]), "unit": scores.metrics[metric].unit,
        "system": test.system, "point": test.point, "variant": test.variant,
        "reference_system": other.system, "reference_point": other.point,
        "reference_variant": other.variant,
    }  # fmt: skip


def _rates(
    scores: DomainScores,
    metric: tuple[str, str],
    pair: PointPair,
    headlines: Mapping[str, str | None],
) -> dict[str, Any]:
    both = [pair.test, pair.reference]
    chosen: Flags = np.all(np.isfinite(scores.metrics[metric].values[both]), axis=0)
    rates = _headline_rates(scores, headlines, both, chosen)
    return {
        "kbps": rates.get(pair.test, np.nan),
        "reference_kbps": rates.get(pair.reference, np.nan),
        "rate_kind": headlines.get(scores.points[pair.test].system) or "",
        "reference_rate_kind": headlines.get(scores.points[pair.reference].system) or "",
    }


def _difference(
    scores: DomainScores, metric: tuple[str, str], pair: PointPair, better: str, confidence: float
) -> dict[str, Any]:
    quantity = scores.metrics[metric]
    test, other = quantity.values[pair.test], quantity.values[pair.reference]
    given = int((quantity.status[[pair.test, pair.reference]] != 0).any(axis=0).sum())
    chosen = np.isfinite(test) & np.isfinite(other)
    answer: dict[str, Any] = dict.fromkeys(
        ("value", "reference_value", "difference", "low", "high", "win_rate", "p"), np.nan
    )
    answer |= dict.fromkeys(("n_better", "n_equal", "n_worse", "n_clips", "n_groups"), 0)
    answer |= {"n_total": given, "note": "", "reason": ""}
    if not chosen.any():
        return answer | {"reason": "refused: no clip has a score at both points"}
    if not quantity.same_set([pair.test, pair.reference], chosen):
        return answer | {"reason": "refused: the two values are not of the same clips"}
    spread, both, found = _paired(scores, metric, pair.test, pair.reference, chosen)
    alike = bool((test == other)[chosen].all())  # no draw of clips would make them differ
    made = intervals(found[:, 0], spread, certain=alike, confidence=confidence)
    answer |= {
        "value": both[0, 0], "reference_value": both[1, 0], "difference": found[0, 0],
        "low": made.low[0], "high": made.high[0], "note": made.notes[0],
        "p": float(p_two_sided(found[:, 0], spread)[0]),
        "n_clips": int(chosen.sum()), "n_groups": int(spread.groups[0]),
    }  # fmt: skip
    if quantity.sets is None:
        change = (test - other)[chosen] * (1.0 if better == "higher" else -1.0)
        won, equal = int((change > 0).sum()), int((change == 0).sum())
        answer |= {"n_better": won, "n_equal": equal, "n_worse": len(change) - won - equal}
        answer["win_rate"] = (won + equal / 2) / len(change)
    return answer


def paired_p(
    scores: DomainScores, metric: tuple[str, str], test: int, other: int
) -> tuple[float, float]:
    """The mean difference of two points over their common clips, and its p as in `paired_table`.

    Both NaN where no clip has both, or the values are of different sets; p alone where there are
    too few groups.
    """
    quantity = scores.metrics[metric]
    chosen = np.isfinite(quantity.values[test]) & np.isfinite(quantity.values[other])
    if not chosen.any() or not quantity.same_set([test, other], chosen):
        return np.nan, np.nan
    spread, _, found = _paired(scores, metric, test, other, chosen)
    return float(found[0, 0]), float(p_two_sided(found[:, 0], spread)[0])


def _paired(
    scores: DomainScores, metric: tuple[str, str], test: int, other: int, chosen: Flags
) -> tuple[Spread, Array, Array]:
    """How much the difference varies, both means (2, columns), and the difference (1, columns)."""
    both = means(scores, [test, other], metric, chosen)
    found = (both[0] - both[1])[None]
    columns = columns_of(scores, chosen, metric[0])
    return columns.spread(found, size=float(np.nanmax(np.abs(both)))), both, found


def _group_names(run: Run, scores: DomainScores) -> dict[str, str]:
    rows = run.rows[run.rows["domain"] == scores.domain].drop_duplicates("clip")
    return dict(zip(rows["clip"].astype(str), rows["group"].astype(str), strict=True))
