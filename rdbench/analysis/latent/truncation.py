"""How many channels of a latent a decoder needs: scores over the channels that were kept.

k* is the least k whose error is at most 1.1 times that of the full sample, among those that were
decoded. An error is how far a score is from that of the reference itself; of a ratio in decibels,
which has none that is best, the power of the noise, 10^(−x/10).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import LEAST_SCORED, DomainScores, by_domain
from rdbench.analysis.curves.measured import chosen_metrics
from rdbench.analysis.latent.decoded import (
    LATENT,
    TRUNCATED,
    DecodedLatent,
    decoded_latents,
)
from rdbench.analysis.stats.leave_one_out import columns_of, means

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

ORDERS = {"keep": "index", "keep_kl": "KL", "keep_random": "random"}
"""In which order channels are kept, by the variant's name without its number."""
ALL = "all"
ALLOWED = 1.1
METRIC = ["domain", "key", "backend", "better", "unit"]
TRUNCATION_COLUMNS = [
    *METRIC, "system", "curve", "point", "order", "channels", "variant", "value", "low", "high",
    "error", "n_clips", "n_groups", "note", "reason",
]  # fmt: skip
LEAST_COLUMNS = [*METRIC, "system", "curve", "point", "order", "least", "most", "error", "reason"]
_NAME = re.compile(r"(keep|keep_kl|keep_random)_([0-9]+)")


def truncation_table(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """One row for each metric, latent and number of channels kept; columns `TRUNCATION_COLUMNS`.

    order: a value of `ORDERS`, or `ALL` for the full sample, whose channels are NaN. All rows of a
    latent and metric are over the clips that they have in common; one with scores on fewer than
    half of its clips is left out of that, and has a reason instead. error: as the module says, NaN
    where the metric has none.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for scores in by_domain(run):
        for metric in chosen_metrics(scores, None):
            head = {
                "domain": scores.domain, "key": metric[0], "backend": metric[1],
                "better": run.direction(metric[0]), "unit": scores.metrics[metric].unit,
            }  # fmt: skip
            error = error_of(run.metrics.get(metric[0]))
            for latent in decoded_latents(scores):
                for row in _curve(scores, metric, latent, confidence):
                    rows.append(head | row | {"error": error(row["value"])})
    return pd.DataFrame(rows, columns=TRUNCATION_COLUMNS)


def least_channels(table: pd.DataFrame) -> pd.DataFrame:
    """k* for each order of each curve of `truncation_table`; columns `LEAST_COLUMNS`.

    least: k*, NaN where no number that was decoded is enough, or the metric has no error; reason
    says which. most: the largest number that was decoded. error: that of the full sample.
    """
    import pandas as pd

    rows = []
    for names, curve in table.groupby([*METRIC, "system", "curve", "point"], sort=False):
        whole = curve[curve["order"] == ALL]
        full = float(whole["error"].iloc[0]) if len(whole) else math.nan
        for order, part in curve[curve["order"] != ALL].groupby("order", sort=False):
            enough = part.loc[part["error"] <= ALLOWED * full, "channels"]
            reason = "" if len(enough) else f"more than {part['channels'].max():.0f}"
            if not math.isfinite(full):
                reason = "the metric says nothing of how far a score is from the best"
            rows.append(
                dict(zip([*METRIC, "system", "curve", "point"], names, strict=True))
                | {"order": order, "least": enough.min(), "most": part["channels"].max(),
                   "error": full, "reason": reason}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=LEAST_COLUMNS)


def error_of(card: Mapping[str, Any] | None) -> Callable[[float], float]:
    """The error of a score of the metric with this card of the manifest; NaN where it has none."""
    card = card or {}
    best, higher = card.get("identity"), card.get("direction") == "higher"
    if card.get("unit") == "dB" and higher:
        return lambda value: 10.0 ** (-value / 10.0)
    if not isinstance(best, int | float) or not math.isfinite(best):
        return lambda _: math.nan
    return lambda value: best - value if higher else value - best


def _curve(
    scores: DomainScores, metric: tuple[str, str], latent: DecodedLatent, confidence: float
) -> list[dict[str, Any]]:
    kept = {
        name: index for name, index in latent.variants.items()
        if _NAME.fullmatch(name) and scores.card(index).source in TRUNCATED
    }  # fmt: skip
    if not kept or not latent.reference:
        return []
    shown = {latent.reference: latent.variants[latent.reference], **kept}
    quantity = scores.metrics[metric]
    finite = {name: np.isfinite(quantity.values[index]) for name, index in shown.items()}
    given = np.isfinite(scores.seconds[latent.variants[latent.reference]]).sum()
    usable = [name for name in shown if finite[name].sum() >= max(1, LEAST_SCORED * given)]
    if latent.reference not in usable:
        return []
    chosen = np.all([finite[name] for name in usable], axis=0)
    comparable = chosen.any() and quantity.same_set([shown[name] for name in usable], chosen)
    rows = []
    for name, index in shown.items():
        row = _place(latent, name) | {
            "value": math.nan, "low": math.nan, "high": math.nan,
            "n_clips": int(chosen.sum()), "n_groups": 0, "note": "", "reason": "",
        }  # fmt: skip
        if name not in usable:
            row["reason"] = "scored on fewer than half of the clips"
        elif not comparable:
            row["reason"] = "no clip has a score of all that is compared"
        else:
            columns = columns_of(scores, chosen, metric[0])
            found = means(scores, [index], metric, chosen)
            made = columns.interval(found, confidence=confidence)
            row |= {
                "value": found[0, 0], "low": made.low[0], "high": made.high[0],
                "n_groups": len(columns.groups), "note": made.notes[0],
            }  # fmt: skip
        rows.append(row)
    return rows


def _place(latent: DecodedLatent, variant: str) -> dict[str, Any]:
    match = _NAME.fullmatch(variant)
    names = {name: getattr(latent, name) for name in LATENT[1:]}
    return names | {
        "variant": variant,
        "order": ORDERS[match[1]] if match else ALL,
        "channels": float(match[2]) if match else math.nan,
    }
