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

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import DomainScores, by_domain
from rdbench.analysis.curves.measured import chosen_metrics
from rdbench.analysis.curves.sides import (
    Side,
    curve_names,
    decodable_side,
    headline_side,
    require_curve,
)
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

# What a row says of two points that are not compared.
NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(("value", "reference_value", "difference", "low", "high"), np.nan),
    **dict.fromkeys(("win_rate", "p"), np.nan),
    **dict.fromkeys(("n_better", "n_equal", "n_worse", "n_clips", "n_groups"), 0),
    "note": "",
    "reason": "",
}


@dataclass(frozen=True)
class PointPair:
    """Numbers of two points of a domain: the point, and the one that it is held against.

    far: nobody asked for them, and their rates differ by more than `NEAR`.
    """

    test: int
    reference: int
    far: bool = False


def paired_table(
    run: Run,
    *,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Paired differences, point − reference point; columns `PAIR_COLUMNS`.

    pairs: names such as ("lyra/6", "opus/8"), SYSTEM/POINT or SYSTEM/POINT/VARIANT. Without them
    the points of every curve (of `curves` alone, where given), and those of the first decodable
    stream of a latent, are set against the point of the curve `reference` that is nearest in rate,
    where one lies within 10 %; points without one have a row with the nearest and the reason.
    difference, low, high in the metric's unit; win_rate 0 … 1. kbps: at the variant's own kind of
    rate, over the compared clips; NaN, of no kind, where no one can transmit it, as a decoded
    mean. p_holm is corrected over all rows of the table. NaN and a reason where there is nothing
    to compare.

    Raises RdbenchError for a curve or a point that is not there.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scores, chosen in point_pairs(run, reference, pairs, curves):
        headlines = run.headlines
        for metric in chosen_metrics(scores, metrics):
            for pair in chosen:
                row = _shared(run, scores, metric, pair)
                row |= _rates(scores, metric, pair, headlines)
                if pair.far:
                    row |= {**NOTHING, "n_total": 0, "reason": _too_far(scores, pair)}
                else:
                    row |= difference(scores, metric, pair, row["better"], confidence)
                rows.append(row)
    table = pd.DataFrame(rows, columns=PAIR_COLUMNS)
    table["p_holm"] = holm(table["p"].to_numpy(float))
    return table


def clip_table(
    run: Run,
    *,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    count: int = 3,
) -> pd.DataFrame:
    """The clips that change most, best and worst; columns `CLIP_COLUMNS`.

    end: "best" or "worst", rank from 1; clip: its path in the corpus. Arguments as in
    `paired_table`.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scores, chosen in point_pairs(run, reference, pairs, curves):
        near = [pair for pair in chosen if not pair.far]
        names = _group_names(run, scores)
        for metric in chosen_metrics(scores, metrics):
            if scores.metrics[metric].sets is not None:
                continue
            values = scores.metrics[metric].values
            sign = 1.0 if run.direction(metric[0]) == "higher" else -1.0
            for pair in near:
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


def point_pairs(
    run: Run,
    reference: str | None,
    named: Sequence[tuple[str, str]],
    curves: Sequence[str] | None,
) -> list[tuple[DomainScores, list[PointPair]]]:
    """By domain, the points that are compared; arguments and errors as in `paired_table`."""
    parts = by_domain(run)
    if named:
        return _named_pairs(parts, named)
    headlines = run.headlines
    known = [name for scores in parts for name in curve_names(scores, headlines)]
    if reference is None:
        raise RdbenchError("give the curve to compare with (--anchor) or pairs of points")
    require_curve(reference, list(dict.fromkeys(known)))
    for name in curves or ():
        require_curve(name, list(dict.fromkeys(known)), option="--curve")
    return [(scores, _near_pairs(scores, headlines, reference, curves)) for scores in parts]


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
                    f"such as {_example(parts, name)!r}"
                )
    return found


def _example(parts: Sequence[DomainScores], name: str) -> str:
    """A point that is there: of the curve whose name was given for a system's, where one was."""
    curve, _, rest = name.partition("/")
    paths = [(point, _path(scores, i)) for scores in parts for i, point in enumerate(scores.points)]
    of_curve = [(point, path) for point, path in paths if point.curve == curve]
    same = [path for point, path in of_curve if rest.split("/")[0] == point.point]
    return (same or [path for _, path in of_curve or paths])[0]


def _path(scores: DomainScores, index: int) -> str:
    """A point as `--pair` takes it."""
    system, _, point, variant = scores.points[index]
    return f"{system}/{point}" + ("" if scores.card(index).headline else f"/{variant}")


def _near_pairs(
    scores: DomainScores,
    headlines: Mapping[str, str | None],
    reference: str,
    curves: Sequence[str] | None,
) -> list[PointPair]:
    """Each point with the reference's nearest, a curve after the other, by rising rate."""
    names = curve_names(scores, headlines)
    if reference not in names:
        return []
    rates = _own_rates(scores, headlines)

    def points(side: Side) -> list[int]:
        known = [] if side.refusal else [i for i in side.points if i in rates]
        return sorted(known, key=lambda i: rates[i])

    base = headline_side(scores, headlines, reference)
    # A stream is bits: it is held against the reference's stream, where that has one.
    streams = points(decodable_side(scores, base)) or points(base)
    pairs: dict[tuple[int, int], PointPair] = {}
    for name in names:
        if name == reference or (curves and name not in curves):
            continue
        side = headline_side(scores, headlines, name)
        decodable = decodable_side(scores, side)
        for tests, others in ((points(side), points(base)), (points(decodable), streams)):
            for test in tests if others else ():
                apart = {i: abs(np.log(rates[test] / rates[i])) for i in others}
                nearest = min(others, key=lambda i: apart[i])
                far = bool(apart[nearest] > np.log1p(NEAR))
                pairs.setdefault((test, nearest), PointPair(test, nearest, far))
    return list(pairs.values())


def _too_far(scores: DomainScores, pair: PointPair) -> str:
    names = f"{_path(scores, pair.test)}={_path(scores, pair.reference)}"
    return f"none within {100 * NEAR:.0f} % in rate; --pair {shlex.quote(names)} compares them"


def _own_kind(scores: DomainScores, headlines: Mapping[str, str | None], index: int) -> str:
    """The kind of rate at which a point is transmitted; "" where no one can."""
    card = scores.card(index)
    return (card.rate or headlines.get(scores.points[index].system) or "") * card.transmitted


def _own_rates(
    scores: DomainScores,
    headlines: Mapping[str, str | None],
    points: Sequence[int] | None = None,
    chosen: Flags | None = None,
) -> dict[int, float]:
    """Rates in kbps per point at its own kind of rate, over the clips that have it.

    points: these alone, by default all. chosen: over these clips alone, (clips,).
    """
    found: dict[int, float] = {}
    for kind, model in sorted(scores.rates, key=lambda rate: preference(rate[1])):
        quantity = scores.rates[kind, model]
        for i in range(len(scores.points)) if points is None else points:
            if _own_kind(scores, headlines, i) != kind or i in found:
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
    rates = _own_rates(scores, headlines, both, chosen)
    return {
        "kbps": rates.get(pair.test, np.nan),
        "reference_kbps": rates.get(pair.reference, np.nan),
        "rate_kind": _own_kind(scores, headlines, pair.test),
        "reference_rate_kind": _own_kind(scores, headlines, pair.reference),
    }


def difference(
    scores: DomainScores, metric: tuple[str, str], pair: PointPair, better: str, confidence: float
) -> dict[str, Any]:
    """The columns of `NOTHING` and `n_total` of one metric at two points."""
    quantity = scores.metrics[metric]
    test, other = quantity.values[pair.test], quantity.values[pair.reference]
    given = int((quantity.status[[pair.test, pair.reference]] != 0).any(axis=0).sum())
    chosen = np.isfinite(test) & np.isfinite(other)
    answer: dict[str, Any] = {**NOTHING, "n_total": given}
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
