"""What coding costs, as a table: a row per point. Costs are measured once per point, so that they
have no interval and none is in bold.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rdbench.report.cards import RunCard
from rdbench.report.names import clean
from rdbench.report.numbers import cost_text, cost_title
from rdbench.report.tables.rows import PLACE, Place, place_order
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd


def cost_table(points: pd.DataFrame, card: RunCard, *, caption: str) -> Table | None:
    """The costs of all points; None where none were measured. Notes say what has no value."""
    costs = points[points["kind"] == "cost"]
    if costs.empty:
        return None
    rows = _rows(costs, card)
    head = [
        words("system", [card.systems[place[0]].label for place, _ in rows]),
        words("point", [clean(place[2]) for place, _ in rows], right=True),
    ]
    if len(rows) > len({(place[:3], domain) for place, domain in rows}):
        head.append(words("variant", [clean(place[3]) for place, _ in rows]))
    if {domain for _, domain in rows} != {""}:
        head.append(words("domain", [card.domain_label(d) or "–" for _, d in rows]))
    columns, notes = [], []
    for key in dict.fromkeys(costs["key"]):
        part = costs[costs["key"] == key]
        if not np.isfinite(part["value"]).any():
            reasons = "; ".join(dict.fromkeys(clean(r, longest=120) for r in part["reason"] if r))
            notes.append(f"{cost_title(key, '')}: no value ({reasons}).")
            continue
        unit = str(part["unit"].iloc[0])
        fields = part[[*PLACE, "domain", "value"]].itertuples(index=False, name=None)
        values = {((s, c, p, v), d): value for s, c, p, v, d, value in fields}
        cells = [Cell(cost_text(values.get(row, math.nan), unit)) for row in rows]
        columns.append(TableColumn(cost_title(key, unit), cells))
    return Table("costs", "Costs", caption, head, columns, notes)


def _rows(costs: pd.DataFrame, card: RunCard) -> list[tuple[Place, str]]:
    fields = costs[[*PLACE, "domain"]].drop_duplicates().astype(str)
    found = [((s, c, p, v), d) for s, c, p, v, d in fields.itertuples(index=False, name=None)]
    order = place_order(card)
    return sorted(found, key=lambda row: (order(row[0]), row[1]))
