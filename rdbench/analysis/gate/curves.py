"""Curves against their own baseline, by BD-rate on the same clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import RESIDUAL_DELAY, DomainScores, by_domain
from rdbench.analysis.curves.delta import FEWEST, delta, percent
from rdbench.analysis.curves.measured import make_pair
from rdbench.analysis.curves.sides import Side, curve_names, headline_side
from rdbench.analysis.gate.config import GateConfig, Tolerance
from rdbench.analysis.gate.findings import UNCHANGED, finding
from rdbench.analysis.stats.intervals import intervals, p_above

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]

BASE, NEW = "baseline:", "run:"


def curve_findings(run: Run, baseline: Run, config: GateConfig) -> Iterator[dict[str, Any]]:
    """BD-rate of each curve against its own baseline."""
    if config.bd_rate is None:
        return
    both = _side_by_side(run, baseline)
    headlines = {
        prefix + name: kind
        for prefix, part in ((BASE, baseline), (NEW, run))
        for name, kind in part.headlines.items()
    }
    for scores in by_domain(both):
        names = curve_names(scores, headlines)
        for name in (n.removeprefix(NEW) for n in names if n.startswith(NEW)):
            if BASE + name not in names:
                continue
            sides = (
                headline_side(scores, headlines, BASE + name),
                headline_side(scores, headlines, NEW + name),
            )
            if min(len(side.points) for side in sides) < FEWEST["pchip"]:
                continue
            for metric in scores.metrics:
                if metric[0] == RESIDUAL_DELAY or config.of("metric", *metric) is None:
                    continue
                sign = 1.0 if run.direction(metric[0]) == "higher" else -1.0
                row = finding(
                    "bd_rate", domain=scores.domain, key=metric[0], backend=metric[1], curve=name
                )
                yield row | _bd(scores, metric, sign, sides, config.bd_rate)


def _side_by_side(run: Run, baseline: Run) -> Run:
    """One run that holds both, their systems and curves told apart by a prefix."""
    import pandas as pd

    rows = [
        part.rows.assign(system=prefix + part.rows["system"], curve=prefix + part.rows["curve"])
        for prefix, part in ((BASE, baseline), (NEW, run))
    ]
    sets = [
        score.renamed(prefix)
        for prefix, part in ((BASE, baseline), (NEW, run))
        for score in part.sets
    ]
    return replace(run, rows=pd.concat(rows, ignore_index=True), sets=tuple(sets))


def _bd(
    scores: DomainScores,
    metric: tuple[str, str],
    sign: float,
    sides: tuple[Side, Side],
    tolerance: Tolerance,
) -> dict[str, Any]:
    kinds = [side.rate[0] for side in sides]
    if kinds[0] != kinds[1]:
        said = f"its rate is {kinds[1]}, and that of the baseline {kinds[0]}"
        return {"verdict": "skipped", "message": said}
    pair = make_pair(scores, metric, sign, sides)
    first, second, columns = pair.reference.curve, pair.test.curve, pair.test.columns
    if pair.refusal or first is None or second is None or columns is None:
        return {"verdict": "skipped", "message": _plain(pair.refusal)}
    if min(first.points[0], second.points[0]) < FEWEST["pchip"]:
        return {"verdict": "skipped", "message": "too few points after repair"}
    values = delta(first, second, "pchip", "quality").value
    if not np.isfinite(values[0]):
        return {"verdict": "skipped", "message": "the curves do not overlap"}
    # A tolerance in percent of bits, on the scale of log10 rates.
    limit = np.log10(1 + max(tolerance.absolute or 0.0, tolerance.percent or 0.0) / 100)
    unchanged = bool(np.all(np.abs(values) < 1e-12))
    spread = columns.spread(values[None])
    made = intervals(values[:1], spread, certain=True)
    p, gain = (
        float(p_above(one, spread, certain=True)[0]) for one in (values[:1] - limit, -values[:1])
    )
    numbers = np.array([values[0], made.low[0], made.high[0], limit])
    loss, low, high, bound = map(float, percent(numbers))
    return {
        "loss": loss, "low": low, "high": high, "unit": "% bits", "limit": bound,
        "tolerance": tolerance.text, "message": UNCHANGED if unchanged else "",
        "p": p if tolerance.significant and not unchanged else np.nan,
        "p_gain": np.nan if unchanged else gain,
        "n_clips": pair.test.clips, "n_groups": len(columns.groups),
    }  # fmt: skip


def _plain(refusal: str) -> str:
    """A refusal without the prefixes that tell the two runs apart."""
    return refusal.replace(NEW, "").replace(BASE, "")
