"""Latents of two points against each other: their statistics, and their rates under each prior.

The points are those whose scores are compared (`rdbench.analysis.paired`), and each has the latent
of its system and point, whatever was decoded of it. No side of a difference is the better one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.latent.ladder import RUNGS, prior_of
from rdbench.analysis.paired import NOTHING, PointPair, difference, point_pairs
from rdbench.analysis.stats.intervals import p_two_sided
from rdbench.analysis.stats.leave_one_out import columns_of, kbps
from rdbench.latent.summary import copy_in, of_copy
from rdbench.store.schema import Kind
from rdbench.types import RateKind

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.arrays import ClipValues, DomainScores
    from rdbench.analysis.runs import Run

LATENT_PAIR_COLUMNS = [
    "domain", "kind", "key", "unit", "system", "point", "reference_system", "reference_point",
    "value", "reference_value", "difference", "low", "high", "p", "n_clips", "n_groups", "note",
    "reason",
]  # fmt: skip
KEPT = ("value", "reference_value", "difference", "low", "high", "p", "n_clips", "n_groups",
        "note", "reason")  # fmt: skip


def latent_table(
    run: Run,
    *,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    curves: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """One row for each pair of latents and quantity; columns `LATENT_PAIR_COLUMNS`.

    kind: "rate" under the prior `key`, in kbps over the clips that both have, or "latent", a
    statistic of all clips, in its own unit. difference: of `value` less `reference_value`; low,
    high, p: over groups of clips. Arguments and errors as in `paired_table`; a latent against
    itself has no row.
    """
    import pandas as pd

    rows = []
    for scores, chosen in point_pairs(run, reference, pairs, curves):
        near = (pair for pair in chosen if not pair.far)
        for test, other in dict.fromkeys((_latent(scores, p.test), _latent(scores, p.reference))
                                         for p in near):  # fmt: skip
            if test == other:
                continue
            place = {
                "domain": scores.domain, "system": test[0], "point": test[1],
                "reference_system": other[0], "reference_point": other[1],
            }  # fmt: skip
            for row in (*_rates(scores, test, other, confidence),
                        *_statistics(scores, test, other, confidence)):  # fmt: skip
                rows.append(place | row)
    return pd.DataFrame(rows, columns=LATENT_PAIR_COLUMNS)


def _latent(scores: DomainScores, index: int) -> tuple[str, str]:
    point = scores.points[index]
    return point.system, point.point


def _with_values(scores: DomainScores, quantity: ClipValues, latent: tuple[str, str]) -> int | None:
    """The point of a latent that has a quantity: one variant stands for what was encoded."""
    found = (
        i for i in range(len(scores.points))
        if _latent(scores, i) == latent and quantity.status[i].any()
    )  # fmt: skip
    return next(found, None)


def _statistics(
    scores: DomainScores, test: tuple[str, str], other: tuple[str, str], confidence: float
) -> Iterator[dict[str, Any]]:
    view = replace(scores, metrics=scores.latents, _kept={})
    for quantity, values in scores.latents.items():
        one, two = (_with_values(scores, values, latent) for latent in (test, other))
        if one is not None and two is not None:
            found = difference(view, quantity, PointPair(one, two), "", confidence)
            kept = {name: found[name] for name in KEPT}
            key = of_copy(quantity[0], copy_in(quantity[1]))
            yield {"kind": Kind.LATENT.value, "key": key, "unit": values.unit} | kept


def _rates(
    scores: DomainScores, test: tuple[str, str], other: tuple[str, str], confidence: float
) -> Iterator[dict[str, Any]]:
    for rung in RUNGS:
        found = [_under(scores, rung, latent) for latent in (test, other)]
        if None in found:
            continue
        (model, i), (model_2, j) = (one for one in found if one is not None)
        bits = np.stack([scores.rates[model].values[i], scores.rates[model_2].values[j]])
        chosen = np.isfinite(bits).all(axis=0)
        row: dict[str, Any] = {"kind": Kind.RATE.value, "key": rung, "unit": "kbps"}
        row |= {name: NOTHING[name] for name in KEPT}
        if not chosen.any():
            yield row | {"reason": "refused: no clip has a rate at both points"}
            continue
        columns = columns_of(scores, chosen, "")
        one, two = (kbps(scores, [at], rate, chosen, columns)
                    for rate, at in ((model, i), (model_2, j)))  # fmt: skip
        less = one - two
        alike = bool((bits[0] == bits[1])[chosen].all())
        made = columns.interval(less, certain=alike, confidence=confidence)
        yield row | {
            "value": one[0, 0], "reference_value": two[0, 0], "difference": less[0, 0],
            "low": made.low[0], "high": made.high[0], "note": made.notes[0],
            "p": float(p_two_sided(less[:, 0], columns.spread(less))[0]),
            "n_clips": int(chosen.sum()), "n_groups": len(columns.groups),
        }  # fmt: skip


def _under(
    scores: DomainScores, rung: str, latent: tuple[str, str]
) -> tuple[tuple[str, str], int] | None:
    """The rate of a latent under a prior, whatever that was fitted on, and which point has it."""
    for (kind, model), rate in scores.rates.items():
        if kind == RateKind.KL and prior_of(model) == rung:
            index = _with_values(scores, rate, latent)
            if index is not None:
                return (kind, model), index
    return None
