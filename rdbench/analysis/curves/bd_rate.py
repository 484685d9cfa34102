"""BD-rate and BD-quality of every curve against one, with intervals, or with the reason why not.

Both curves are taken on the clips that all their points have, and made anew, points, repair, range
and all, without each group of these clips (`delta`, `leave_one_out`); interval and p come from how
much that changes. Domains are never pooled and nothing is extrapolated.

A system of one rate has no curve. It is read against the other curve at its own quality: how many
bits the one needs for that quality, in percent of what the other needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import by_domain
from rdbench.analysis.curves.delta import (
    FEWEST,
    LARGEST_GAP,
    LEAST_SHARE,
    Curve,
    Delta,
    crosses,
    crossings,
    delta,
    evaluate,
    percent,
)
from rdbench.analysis.curves.measured import Made, Pair, chosen_metrics, drawn_pair, make_pair
from rdbench.analysis.curves.sides import (
    Side,
    curve_names,
    decodable_side,
    headline_side,
    mean_side,
    require_curve,
)
from rdbench.analysis.stats.intervals import p_two_sided
from rdbench.analysis.stats.leave_one_out import Sampling

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.arrays import DomainScores
    from rdbench.analysis.curves.interpolation import Interpolation
    from rdbench.analysis.runs import Run
    from rdbench.analysis.stats.intervals import Intervals

BD_COLUMNS = [
    "domain", "key", "backend", "better", "reference", "curve", "variant", "reference_variant",
    "basis", "rate_kind", "reference_rate_kind", "rate_model", "reference_rate_model",
    "quantity", "method", "value", "low", "high", "unit", "p",
    "range_low", "range_high", "range_unit", "share_curve", "share_reference",
    "gap_curve", "gap_reference", "akima", "narrow", "repaired",
    "crosses", "crossing_kbps", "crossing_quality", "crossing_share", "fewer_bits",
    "n_points", "n_points_reference", "n_clips", "n_total", "n_groups", "note", "reason",
]  # fmt: skip
METHODS: tuple[Interpolation, ...] = ("pchip", "akima")
QUANTITIES = ("bd_rate", "bd_quality")
AT_POINT = "rate_at_point"


def bd_table(
    run: Run,
    *,
    reference: str,
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    methods: Sequence[Interpolation] = METHODS,
    quantities: Sequence[str] = QUANTITIES,
    sampling: Sampling | None = None,
) -> pd.DataFrame:
    """Every curve of `run` against the curve `reference`; columns `BD_COLUMNS`.

    One row per domain, metric, curve, basis, quantity and method. quantity: `bd_rate`, the change
    in rate at equal quality in percent (negative: fewer bits), or `bd_quality`, the change in
    quality at equal rate in the metric's unit. Where one of the two, the reference too, has one
    point, there is beside the refusal of `bd_rate` a row `rate_at_point`: the change in rate at its
    quality, in percent, whose range is that quality. basis: `headline`, or `decodable` where the
    two headline kinds differ and the comparison is repeated under decodable streams. value, low,
    high: NaN where refused, and `reason` says why. range_low … range_high: the qualities (for
    `bd_rate`) or kbps it is taken over; share_curve, share_reference: that range's part of each
    curve's own. gap_curve, gap_reference: the longest part of the range, 0 … 1, without a point of
    that curve.
    narrow: whether a share is less than `LEAST_SHARE` or a gap more than `LARGEST_GAP`. akima: in
    rows by PCHIP, the value by Akima, where both curves have points enough for it. repaired: the
    points that were moved to make a curve monotone. crosses: whether the curves cross; where first
    (`crossing_kbps`, `crossing_quality`), and in what share of the resamples they do. fewer_bits:
    on which side of that rate the curve needs fewer bits, "below" or "above"; "" where they do not
    cross once. p: of no change at all, not corrected for other tests. note: what was left out or
    repaired, gaps that make it `narrow`, and the value by Akima where that lies outside of the
    interval.

    metrics: keys, all by default. Raises RdbenchError for a curve or metric that is not there.
    """
    import pandas as pd

    how = sampling or Sampling()
    headlines = run.headlines
    found: list[dict[str, Any]] = []
    parts = by_domain(run)
    known = [name for scores in parts for name in curve_names(scores, headlines)]
    require_curve(reference, list(dict.fromkeys(known)))
    for name in curves or ():
        require_curve(name, list(dict.fromkeys(known)), option="the curve")
    for scores in parts:
        here = curve_names(scores, headlines)
        if reference not in here:
            continue
        base = headline_side(scores, headlines, reference)
        for metric in chosen_metrics(scores, metrics):
            for name in here:
                if name == reference or (curves and name not in curves):
                    continue
                test = headline_side(scores, headlines, name)
                asked = [("headline", base, test, methods)]
                if base.rate[0] != test.rate[0]:
                    streams = decodable_side(scores, base), decodable_side(scores, test)
                    asked.append(("decodable", *streams, methods))
                mean = mean_side(scores, name)
                if mean is not None and test.points:
                    asked.append(("headline", base, mean, methods[:1]))
                for basis, one, two, by in asked:
                    wanted = [(quantity, method) for quantity in quantities for method in by]
                    found += pair_rows(
                        run, scores, metric, (one, two), basis=basis, asked=wanted, how=how
                    )
    return pd.DataFrame(found, columns=BD_COLUMNS)


def instead(bd: pd.DataFrame) -> pd.Series[bool]:
    """Which refusals of a BD-rate or BD-quality stand beside what was read at one point."""
    of_row = ["domain", "key", "backend", "curve", "variant", "reference", "basis"]
    read = set(bd.loc[bd["quantity"] == AT_POINT, of_row].itertuples(index=False, name=None))
    both = zip(bd[of_row].itertuples(index=False, name=None), bd["quantity"], strict=True)
    import pandas as pd

    return pd.Series([row in read and q != AT_POINT for row, q in both], bd.index, dtype=bool)


def pair_rows(
    run: Run,
    scores: DomainScores,
    metric: tuple[str, str],
    sides: tuple[Side, Side],
    *,
    basis: str,
    asked: Sequence[tuple[str, Interpolation]],
    how: Sampling,
) -> list[dict[str, Any]]:
    """The rows of `bd_table` for one metric and one pair of `sides`, reference and test.

    asked: (quantity, method). One more row stands behind them where one of the two has one point.
    """
    reference, test = sides
    better = run.direction(metric[0])
    sign = 1.0 if better == "higher" else -1.0
    pair = make_pair(scores, metric, sign, (reference, test))
    shared = {
        "domain": scores.domain, "key": metric[0], "backend": metric[1], "better": better,
        "reference": reference.curve, "curve": test.curve, "variant": test.variant,
        "reference_variant": reference.variant, "basis": basis,
        "rate_kind": test.rate[0], "reference_rate_kind": reference.rate[0],
        "rate_model": test.rate[1], "reference_rate_model": reference.rate[1],
        "n_points": len(pair.test.side.points),
        "n_points_reference": len(pair.reference.side.points),
        "n_clips": pair.test.clips, "n_total": pair.test.given,
        "n_groups": 0 if pair.test.columns is None else len(pair.test.columns.groups),
        "repaired": ", ".join(pair.repaired),
    }  # fmt: skip
    if pair.single is not None and any(quantity == "bd_rate" for quantity, _ in asked):
        asked = [
            *asked,
            *((AT_POINT, method) for quantity, method in asked if quantity == "bd_rate"),
        ]
    answers = _answers(pair, asked, sign, scores.metrics[metric].unit, how.confidence)
    if any(answer["crosses"] for answer in answers):
        # One method's curves are enough to tell how sure a crossing is.
        share = crosses(*drawn_pair(scores, metric, sign, pair, how), asked[0][1])
        for answer in answers:
            answer["crossing_share"] = (
                float(share.mean()) if answer["crosses"] and len(share) else np.nan
            )
    return [
        shared | {"quantity": quantity, "method": method} | answer
        for (quantity, method), answer in zip(asked, answers, strict=True)
    ]


def _answers(
    pair: Pair,
    asked: Sequence[tuple[str, Interpolation]],
    sign: float,
    unit: str,
    confidence: float,
) -> list[dict[str, Any]]:
    """Values and intervals, or NaN and the reason; the intervals of all are made together."""
    answers = [_nothing(pair, quantity, method, unit) for quantity, method in asked]
    first, second, columns = pair.reference.curve, pair.test.curve, pair.test.columns
    if first is None or second is None or columns is None:
        return answers
    found: list[tuple[dict[str, Any], Delta, bool]] = []
    crossing: dict[Interpolation, dict[str, Any]] = {}
    for answer, (quantity, method) in zip(answers, asked, strict=True):
        if answer["reason"]:
            continue
        if quantity == AT_POINT:
            answer.update(_at_point(pair, method, sign, unit, confidence))
            continue
        by_bits = quantity == "bd_rate"
        distance = delta(first, second, method, "quality" if by_bits else "rate")
        if not np.isfinite(distance.value[0]):
            answer["reason"] = _apart((pair.reference, pair.test), by_bits, sign, unit)
            continue
        found.append((answer, distance, by_bits))
        if method not in crossing:
            crossing[method] = _crossing(first, second, method, sign)
        answer.update(crossing[method])
        if method == "pchip" and not _too_few((pair.reference, pair.test), "akima"):
            one, two = first.column(0), second.column(0)
            by_akima = delta(one, two, "akima", "quality" if by_bits else "rate").value
            answer["akima"] = float((percent(by_akima) if by_bits else sign * by_akima)[0])
    if found:
        values = np.stack([distance.value for _, distance, _ in found])
        made = columns.interval(values, certain=True, confidence=confidence)
        p = p_two_sided(values[:, 0], columns.spread(values), certain=True)
        for number, (answer, distance, by_bits) in enumerate(found):
            answer.update(_numbers(distance, made, number, by_bits, sign), p=float(p[number]))
            notes = (pair.note, made.notes[number], *_cautions(answer, pair))
            answer["note"] = "; ".join(filter(None, notes))
    return answers


def _nothing(pair: Pair, quantity: str, method: Interpolation, unit: str) -> dict[str, Any]:
    """The answer before there are numbers."""
    answer: dict[str, Any] = dict.fromkeys(
        ("value", "low", "high", "p", "range_low", "range_high", "share_curve", "share_reference",
         "gap_curve", "gap_reference", "akima", "crossing_kbps", "crossing_quality",
         "crossing_share"), np.nan,
    )  # fmt: skip
    by_bits = quantity != "bd_quality"
    curves = [made for made in (pair.reference, pair.test)
              if quantity != AT_POINT or made is not pair.single]  # fmt: skip
    return answer | {
        "unit": "%" if by_bits else unit, "range_unit": unit if by_bits else "kbps",
        "narrow": False, "crosses": False, "fewer_bits": "", "note": pair.note,
        "reason": pair.refusal or _too_few(curves, method),
    }  # fmt: skip


def _at_point(
    pair: Pair, method: Interpolation, sign: float, unit: str, confidence: float
) -> dict[str, Any]:
    """The side of one point and the other's curve, at the quality of the point."""
    single, columns = pair.single, pair.test.columns
    assert single is not None
    assert columns is not None
    other = pair.reference if single is pair.test else pair.test
    point, line = single.curve, other.curve
    assert point is not None
    assert line is not None
    quality = point.quality[0]
    found = (point.log_rate[0] - evaluate(line, quality, method, "quality"))[None]
    place = sign * float(quality[0])
    if not np.isfinite(found[0, 0]):
        low, high = sorted(sign * float(x) for x in line.quality[[0, -1], 0])
        return {
            "reason": f"refused: {single.side.curve} is at {place:.3g}, "
            f"{other.side.curve} was measured from {low:.3g} to {high:.3g} {unit}".rstrip()
        }
    found = found if single is pair.test else -found
    made = columns.interval(found, certain=True, confidence=confidence)
    value, low, high = percent(np.array([found[0, 0], made.low[0], made.high[0]]))
    return {
        "value": float(value), "low": float(low), "high": float(high),
        "range_low": place, "range_high": place,
        "p": float(p_two_sided(found[:, 0], columns.spread(found), certain=True)[0]),
        "note": "; ".join(filter(None, (pair.note, made.notes[0]))),
    }  # fmt: skip


def _numbers(
    found: Delta, made: Intervals, number: int, by_bits: bool, sign: float
) -> dict[str, Any]:
    """Value, interval, range and shares in the units of the table."""
    numbers = np.array([found.value[0], made.low[number], made.high[number]])
    if by_bits:
        value, low, high = percent(numbers)
        ends = (sign * found.low[0], sign * found.high[0])
    else:
        value, low, high = sign * numbers
        ends = (10 ** found.low[0], 10 ** found.high[0])
    shares = float(found.share_test[0]), float(found.share_reference[0])
    gaps = float(found.gap_test[0]), float(found.gap_reference[0])
    return {
        "value": float(value), "low": float(min(low, high)), "high": float(max(low, high)),
        "range_low": float(min(ends)), "range_high": float(max(ends)),
        "share_curve": shares[0], "share_reference": shares[1],
        "gap_curve": gaps[0], "gap_reference": gaps[1],
        "narrow": min(shares) < LEAST_SHARE or max(gaps) > LARGEST_GAP,
    }  # fmt: skip


def beyond(akima: float, low: float, high: float) -> bool:
    """Whether there are a value by Akima and an interval, and it lies outside."""
    return akima < low or akima > high


def _cautions(answer: dict[str, Any], pair: Pair) -> list[str]:
    """What the interval does not say: how much of the value is the interpolation's."""
    axis = "qualities" if answer["range_unit"] != "kbps" else "rates"
    gaps = (pair.test, answer["gap_curve"]), (pair.reference, answer["gap_reference"])
    found = [
        f"no point of {made.side.curve} on {100 * gap:.0f} % of the {axis}"
        for made, gap in gaps
        if gap > LARGEST_GAP
    ]
    if beyond(answer["akima"], answer["low"], answer["high"]):
        by_akima = f"{answer['akima']:+.3g} {answer['unit']}".rstrip()
        found.append(f"{by_akima} by Akima, outside of the interval")
    return found


def _crossing(reference: Curve, test: Curve, method: Interpolation, sign: float) -> dict[str, Any]:
    where = crossings(reference.column(0), test.column(0), method)
    if not where:
        return {"crosses": False}
    # Between the crossing and where the dearer curve begins.
    below = (max(reference.log_rate[0, 0], test.log_rate[0, 0]) + where[0][0]) / 2
    one, two = (evaluate(c.column(0), below, method, "rate")[0] for c in (reference, test))
    side = "below" if two > one else "above"
    return {
        "crosses": True,
        "fewer_bits": side if len(where) == 1 else "",
        "crossing_kbps": 10 ** where[0][0],
        "crossing_quality": sign * where[0][1],
    }


def _too_few(curves: Sequence[Made], method: Interpolation) -> str:
    if len(curves) > 1 and all(len(made.side.points) == 1 for made in curves):
        return "refused: both have 1 point; set these against each other as a pair (--pair)"
    for made in curves:
        measured = len(made.side.points)
        left = measured if made.curve is None else int(made.curve.points[0])
        if left < FEWEST[method]:
            points = f"{left} point" + "s" * (left != 1)
            repaired = " after repair" if left < measured else ""
            curve_ = made.side.curve
            return f"refused: {curve_} has {points}{repaired}, {method} needs {FEWEST[method]}"
    return ""


def _apart(curves: Sequence[Made], over_quality: bool, sign: float, unit: str) -> str:
    ranges = []
    for made in curves:
        assert made.curve is not None
        ends = made.curve.quality if over_quality else 10**made.curve.log_rate
        low, high = sorted(float(x) * (sign if over_quality else 1.0) for x in ends[[0, -1], 0])
        ranges.append(f"{made.side.curve} {low:.3g} to {high:.3g}")
    shown = f" {unit}".rstrip() if over_quality else " kbps"
    return f"refused: the curves do not overlap ({'; '.join(ranges)}{shown})"
