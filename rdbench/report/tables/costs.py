"""What coding costs, as a table: a row per point. Costs are measured once per point and machine, so
that they have no interval and none is in bold.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import PointKey
from rdbench.report.aggregates import machine_costs
from rdbench.report.cards import RunCard
from rdbench.report.names import clean
from rdbench.report.numbers import cost_text, cost_title
from rdbench.report.tables.rows import POINT_KEY, point_order
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd

LONGEST_MACHINE = 120


def cost_table(points: pd.DataFrame, card: RunCard, *, caption: str) -> Table | None:
    """The costs of all points on one machine; None where none were measured.

    Notes say on which machine, on which others there are costs too, and what has no value.
    """
    costs, machine, others = machine_costs(points, card.machine)
    if costs.empty:
        return None
    notes = [f"Measured on {clean(machine, longest=LONGEST_MACHINE)}."] if machine else []
    if others:
        named = "; ".join(clean(m or "a machine without a name", longest=60) for m in others)
        notes.append(f"Costs were also measured on other machines, and are not shown: {named}.")
    rows = _rows(costs, card)
    head = [
        words("system", [card.systems[point.system].label for point, _ in rows]),
        words("point", [clean(point.point) for point, _ in rows], right=True),
    ]
    if len(rows) > len({(point[:3], domain) for point, domain in rows}):
        head.append(words("variant", [clean(point.variant) for point, _ in rows]))
    if {domain for _, domain in rows} != {""}:
        head.append(words("domain", [card.domain_label(d) or "–" for _, d in rows]))
    columns = []
    for key in dict.fromkeys(costs["key"]):
        part = costs[costs["key"] == key]
        if not np.isfinite(part["value"]).any():
            reasons = "; ".join(dict.fromkeys(clean(r, longest=120) for r in part["reason"] if r))
            notes.append(f"{cost_title(key, '')}: no value ({reasons}).")
            continue
        unit = str(part["unit"].iloc[0])
        fields = part[[*POINT_KEY, "domain", "value"]].itertuples(index=False, name=None)
        values = {(PointKey(*names), domain): value for *names, domain, value in fields}
        cells = [Cell(cost_text(values.get(row, math.nan), unit)) for row in rows]
        columns.append(TableColumn(cost_title(key, unit), cells))
    return Table("costs", "Costs", caption, head, columns, notes)


def _rows(costs: pd.DataFrame, card: RunCard) -> list[tuple[PointKey, str]]:
    fields = costs[[*POINT_KEY, "domain"]].drop_duplicates().astype(str)
    found = [(PointKey(*names), d) for *names, d in fields.itertuples(index=False, name=None)]
    order = point_order(card)
    return sorted(found, key=lambda row: (order(row[0]), row[1]))
