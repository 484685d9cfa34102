"""Curves against their own baseline, by BD-rate on the same clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import RESIDUAL_DELAY, DomainScores, by_domain
from rdbench.analysis.curves.delta import FEWEST, delta
from rdbench.analysis.curves.draws import Sampling
from rdbench.analysis.curves.measured import make_pair
from rdbench.analysis.curves.sides import Side, curve_names, headline_side
from rdbench.analysis.gate.config import GateConfig, Tolerance
from rdbench.analysis.gate.findings import finding
from rdbench.analysis.gate.significance import one_sided
from rdbench.analysis.stats.intervals import Factor, influences, standard_error

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]

BASE, NEW = "baseline:", "run:"
# They decide only whether a repaired point stays within its interval.
RESAMPLES = 200


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
                if metric[0] == RESIDUAL_DELAY or config.of("metric", metric[0]) is None:
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
    return replace(run, rows=pd.concat(rows, ignore_index=True))


def _bd(
    scores: DomainScores,
    metric: tuple[str, str],
    sign: float,
    sides: tuple[Side, Side],
    tolerance: Tolerance,
) -> dict[str, Any]:
    from scipy.special import stdtrit

    pair = make_pair(scores, metric, sign, sides, Sampling(resamples=RESAMPLES))
    first, second, columns = pair.reference.curve, pair.test.curve, pair.test.columns
    if pair.refusal or first is None or second is None or columns is None:
        return {"verdict": "skipped", "message": _plain(pair.refusal)}
    if min(first.points[0], second.points[0]) < FEWEST["pchip"]:
        return {"verdict": "skipped", "message": "too few points after repair"}
    groups = columns.group_count
    values = delta(first, second, "pchip", "quality").value[: 1 + groups]
    if not np.isfinite(values[0]):
        return {"verdict": "skipped", "message": "the curves do not overlap"}
    # A tolerance in percent of bits, on the scale of log10 rates.
    limit = np.log10(1 + max(tolerance.absolute or 0.0, tolerance.percent or 0.0) / 100)
    unchanged = bool(np.all(np.abs(values) < 1e-12))
    made = Factor(columns.groups[1 + groups :], influences(values[None, 1:]))
    error = float(standard_error([made])[0])
    ends = values[0] + np.array([-1, 1]) * error * stdtrit(max(groups - 1, 1), 0.975)
    numbers = [np.array([x]) for x in (values[0], error, groups - 1.0, limit)]
    gains = [np.array([x]) for x in (-values[0], error, groups - 1.0, 0.0)]
    p, gain = float(one_sided(*numbers)[0]), float(one_sided(*gains)[0])
    loss, low, high, bound = ((10**x - 1) * 100 for x in (values[0], *ends, limit))
    return {
        "loss": loss, "low": low, "high": high, "unit": "% bits", "limit": bound,
        "tolerance": tolerance.text, "message": "unchanged" if unchanged else "",
        "p": p if tolerance.significant and not unchanged else np.nan,
        "p_gain": np.nan if unchanged else gain,
        "n_clips": pair.test.clips, "n_groups": groups,
    }  # fmt: skip


def _plain(refusal: str) -> str:
    """A refusal without the prefixes that tell the two runs apart."""
    return refusal.replace(NEW, "").replace(BASE, "")
