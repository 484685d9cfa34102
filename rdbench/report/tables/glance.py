"""A domain at a glance: a row for each headline point, its rate, and three metrics.

What is decoded otherwise (means, streams) is left to the other tables, and of long curves some
points are, so that a page or a screen holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import PointKey
from rdbench.report.cards import RunCard, scored_metrics
from rdbench.report.tables.points import headline_column, score_columns
from rdbench.report.tables.rows import point_columns, point_keys
from rdbench.report.text.columns import Column

if TYPE_CHECKING:
    import pandas as pd

METRICS = 3


@dataclass(frozen=True)
class Glance:
    """head: which point, and its rate. scores: a column for each metric that is shown; keys: of
    their metrics. metrics: the keys of all that there are. left_out: how many points are not shown.
    """

    head: list[Column]
    scores: list[Column]
    keys: list[str]
    metrics: frozenset[str]
    left_out: Mapping[str, int]


def glance(inside: pd.DataFrame, card: RunCard, *, most: int, longest: int = 48) -> Glance:
    """One domain's aggregates in `most` rows or about as many; longest: of names, in letters.

    The metrics are the first three of the spec, PESQ in two bands being one of them.
    """
    every = point_keys(inside, card)
    sent = [point for point in every if card.variant(point.variant).headline] or every
    rows = thinned(sent, most)
    pairs = scored_metrics(inside, card)
    chosen = list({key.partition("_")[0]: (key, other) for key, other in pairs[::-1]}.values())
    chosen = [pair for pair in pairs if pair in chosen][:METRICS]
    shown = [(key, other) in chosen for key, other in inside[["key", "backend"]].values]
    part = inside[(inside["kind"] != "metric") | np.array(shown, dtype=bool)]
    head = [column.column for column in point_columns(rows, card, longest=longest)]
    head.append(headline_column(rows, inside, card).column)
    scores = [column.column for column in score_columns(part, card, rows, brief=True)]
    left = {
        "points": len(sent) - len(rows),
        "points that are decoded otherwise": len(every) - len(sent),
    }
    keys = [key for key, _ in scored_metrics(part, card)]
    return Glance(head, scores, keys, frozenset(key for key, _ in pairs), left)


def thinned(points: Sequence[PointKey], most: int) -> list[PointKey]:
    """At most about `most` of the points: of each curve its ends, and others evenly between."""
    curves: dict[str, list[PointKey]] = {}
    for point in points:
        curves.setdefault(point.curve, []).append(point)
    if len(points) <= most:
        return list(points)
    each = max(2, most // len(curves))
    kept = set()
    for members in curves.values():
        count = min(each, len(members))
        steps = range(count)
        kept |= {members[round(i * (len(members) - 1) / max(count - 1, 1))] for i in steps}
    return [point for point in points if point in kept]
