"""The rows of a table: which point of which system, and in what order.

Systems stand in the spec's order, points as the spec lists them and else by what their names say
(2, 3.2, 10, not 10, 2, 3.2), variants by rank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.analysis.arrays import PointKey
from rdbench.report.cards import RunCard
from rdbench.report.names import clean
from rdbench.report.tables.table import TableColumn, words

if TYPE_CHECKING:
    import pandas as pd

POINT_KEY = list(PointKey._fields)


def natural(name: str) -> tuple[tuple[float, str], ...]:
    """A key that sorts numbers within names by their value.

    >>> sorted(["10", "3.2", "q12", "2", "q4"], key=natural)
    ['2', '3.2', '10', 'q4', 'q12']
    """
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return tuple((float(p), "") if i % 2 else (float("inf"), p) for i, p in enumerate(parts) if p)


def point_order(card: RunCard) -> Callable[[PointKey], tuple[Any, ...]]:
    """The key by which points are sorted."""
    systems = {name: rank for rank, name in enumerate(card.systems)}

    variants = list(card.variants)

    def order(key: PointKey) -> tuple[Any, ...]:
        system, _, point, variant = key
        known = card.systems[system].points
        listed = (0, known.index(point)) if point in known else (1, 0)
        rank = variants.index(variant) if variant in variants else len(variants)
        return systems[system], *listed, natural(point), rank, variant

    return order


def point_keys(rows: pd.DataFrame, card: RunCard) -> list[PointKey]:
    """The points that `rows` of `rdbench.analysis.aggregate.points` are about, in order."""
    found = rows[POINT_KEY].drop_duplicates().astype(str).itertuples(index=False, name=None)
    return sorted((PointKey(*names) for names in found), key=point_order(card))


def in_order(table: pd.DataFrame, card: RunCard) -> pd.DataFrame:
    """`table` sorted by point; rows of one point stay as they are."""
    rank = {key: i for i, key in enumerate(point_keys(table, card))} if len(table) else {}
    ranks = [
        rank[PointKey(*row)]
        for row in table[POINT_KEY].astype(str).itertuples(index=False, name=None)
    ]
    return table.iloc[sorted(range(len(ranks)), key=ranks.__getitem__)]


def point_names(rows: Sequence[PointKey], card: RunCard) -> list[str]:
    """Each point's name, with its system's where another of the same label has the same point."""
    owners: dict[tuple[str, str], set[str]] = {}
    for system, _, point, _ in rows:
        owners.setdefault((card.systems[system].label, point), set()).add(system)
    return [
        f"{point} ({system})" if len(owners[card.systems[system].label, point]) > 1 else point
        for system, _, point, _ in rows
    ]


def point_columns(
    rows: Sequence[PointKey], card: RunCard, *, longest: int = 48
) -> list[TableColumn]:
    """System, point, and variant where there is a choice."""
    columns = [
        words("system", [clean(card.systems[s].label, longest=longest) for s, *_ in rows]),
        words("point", [clean(p, longest=longest) for p in point_names(rows, card)], right=True),
    ]
    if any(not card.variant(variant).headline for *_, variant in rows):
        columns.append(words("variant", [clean(variant) for *_, variant in rows]))
    return columns
