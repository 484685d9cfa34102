"""Readings of a curve: its quality at a rate, and the rate at which it reaches a quality.

"At 6 kbps: PESQ 2.9", "to reach PESQ 3.0: 6.3 kbps", each with an interval. Between measured
points the curve is interpolated over log rate; beyond them there is no answer but the range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import by_domain
from rdbench.analysis.curves.delta import FEWEST, evaluate
from rdbench.analysis.curves.measured import chosen_metrics, make_curve
from rdbench.analysis.curves.sides import curve_names, headline_side, require_curve
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.arrays import DomainScores
    from rdbench.analysis.curves.interpolation import Interpolation
    from rdbench.analysis.curves.sides import Side
    from rdbench.analysis.runs import Run

READING_COLUMNS = [
    "domain", "key", "backend", "better", "curve", "variant", "rate_kind", "rate_model",
    "quantity", "method", "at", "at_unit", "value", "low", "high", "unit", "n_clips", "n_total",
    "n_groups", "note", "reason",
]  # fmt: skip


def reading_table(
    run: Run,
    *,
    at_kbps: Sequence[float] = (),
    to_reach: Mapping[str, Sequence[float]] | None = None,
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    method: Interpolation = "pchip",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Readings of every curve; columns `READING_COLUMNS`.

    at_kbps: rates (kbps) at which to read all metrics, rows `quality_at_rate`. to_reach: qualities
    by metric key, rows `rate_at_quality` in kbps at the curve's headline kind. NaN and a reason
    outside the measured range and for what is no curve.

    Raises RdbenchError for a curve or metric that is not there, and a rate that is not positive.
    """
    import pandas as pd

    wanted = to_reach or {}
    parts = by_domain(run)
    _check(run, parts, at_kbps, wanted, curves)
    rows: list[dict[str, Any]] = []
    for scores in parts:
        for metric in chosen_metrics(scores, None):
            asked = [("quality_at_rate", x) for x in at_kbps if not metrics or metric[0] in metrics]
            asked += [("rate_at_quality", x) for x in wanted.get(metric[0], ())]
            if not asked:
                continue
            for name in curve_names(scores, run.headlines):
                if curves is None or name in curves:
                    side = headline_side(scores, run.headlines, name)
                    rows += _read(
                        run, scores, metric, side, asked=asked, method=method, confidence=confidence
                    )
    return pd.DataFrame(rows, columns=READING_COLUMNS)


def _read(
    run: Run,
    scores: DomainScores,
    metric: tuple[str, str],
    side: Side,
    *,
    asked: Sequence[tuple[str, float]],
    method: Interpolation,
    confidence: float,
) -> list[dict[str, Any]]:
    better = run.direction(metric[0])
    sign = 1.0 if better == "higher" else -1.0
    made = make_curve(scores, metric, sign, side)
    unit = scores.metrics[metric].unit
    shared = {
        "domain": scores.domain, "key": metric[0], "backend": metric[1], "better": better,
        "curve": side.curve, "variant": side.variant, "rate_kind": made.side.rate[0],
        "rate_model": made.side.rate[1], "method": method, "n_clips": made.clips,
        "n_total": made.given, "n_groups": len(made.columns.groups) if made.columns else 0,
    }  # fmt: skip
    rows = []
    for quantity, at in asked:
        by_rate = quantity == "quality_at_rate"
        row: dict[str, Any] = shared | {
            "quantity": quantity, "at": at, "at_unit": "kbps" if by_rate else unit,
            "value": np.nan, "low": np.nan, "high": np.nan, "unit": unit if by_rate else "kbps",
            "note": made.note, "reason": made.refusal,
        }  # fmt: skip
        rows.append(row)
        if made.refusal or made.curve is None or made.columns is None:
            continue
        if made.curve.points[0] < FEWEST[method]:
            row["reason"] = (
                f"refused: {side.curve} has {made.curve.points[0]} points, {method} needs "
                f"{FEWEST[method]}"
            )
            continue
        place = float(np.log10(at)) if by_rate else sign * at
        found = evaluate(made.curve, place, method, "rate" if by_rate else "quality")
        if not np.isfinite(found[0]):
            ends = 10**made.curve.log_rate if by_rate else sign * made.curve.quality
            low, high = sorted(map(float, ends[[0, -1], 0]))
            row["reason"] = f"refused: measured from {low:.3g} to {high:.3g} {row['at_unit']}"
            continue
        between = made.columns.interval(found[None], confidence=confidence)
        numbers = np.array([found[0], between.low[0], between.high[0]])
        numbers = sign * numbers if by_rate else 10**numbers
        row["value"], (row["low"], row["high"]) = numbers[0], sorted(numbers[1:])
        row["note"] = "; ".join(filter(None, (made.note, between.notes[0])))
    return rows


def _check(
    run: Run,
    parts: Sequence[DomainScores],
    at_kbps: Sequence[float],
    wanted: Mapping[str, Sequence[float]],
    curves: Sequence[str] | None,
) -> None:
    known = list(dict.fromkeys(n for scores in parts for n in curve_names(scores, run.headlines)))
    for name in curves or ():
        require_curve(name, known, option="the curve")
    for rate in at_kbps:
        if not (np.isfinite(rate) and rate > 0):
            raise RdbenchError(f"{rate} kbps is no rate; give a number above 0")
    keys = list(dict.fromkeys(key for scores in parts for key, _ in scores.metrics))
    for key in wanted:
        if key not in keys:
            raise RdbenchError(f"{key!r} was not measured; the run has {', '.join(keys)}")
