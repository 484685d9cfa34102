"""What coding costs, as a table: a row per point and variant, times with their quartiles over the
timed runs. Quartiles tell how even the runs were and not how sure a cost is, so none is in bold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import PointKey
from rdbench.report.aggregates import machine_costs
from rdbench.report.cards import RunCard
from rdbench.report.names import clean
from rdbench.report.numbers import NONE, cost_text, cost_title
from rdbench.report.tables.rows import POINT_KEY, point_order
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd

LONGEST_MACHINE = 120
QUARTILES = ("_q1", "_q3")
"""How the keys of a cost's quartiles end."""


def cost_table(points: pd.DataFrame, card: RunCard, *, caption: str) -> Table | None:
    """The costs of all points on one machine; None where none were measured.

    Notes say how and on which machine times were taken, on which others there are costs too, and
    what has no value.
    """
    costs, machine, others = machine_costs(points, card.machine)
    if costs.empty:
        return None
    notes = [how] if (how := timing_text(card)) else []
    if machine:
        notes.append(f"Measured on {clean(machine, longest=LONGEST_MACHINE)}.")
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
    found = [_column(costs, key, rows) for key in _keys(costs)]
    notes += [made for made in found if isinstance(made, str)]
    notes += _without(costs, card)
    columns = [made for made in found if isinstance(made, TableColumn)]
    return Table("costs", "Costs", caption, head, columns, notes)


def _without(costs: pd.DataFrame, card: RunCard) -> list[str]:
    """Of which systems no cost has a value, by the reason, where others have one."""
    timed = set(costs.loc[np.isfinite(costs["value"]), "system"])
    by_reason: dict[str, list[str]] = {}
    for name, part in costs[~costs["system"].isin(timed)].groupby("system", sort=False):
        reasons = dict.fromkeys(clean(r, longest=120) for r in part["reason"] if r)
        by_reason.setdefault("; ".join(reasons), []).append(card.systems[str(name)].label)
    if not timed:
        return []
    return [f"Without costs: {', '.join(names)} ({why})." for why, names in by_reason.items()]


def _keys(costs: pd.DataFrame) -> list[str]:
    """What has a column, times first."""
    keys = [key for key in dict.fromkeys(costs["key"]) if not key.endswith(QUARTILES)]
    return sorted(keys, key=lambda key: not key.endswith("_rtf"))


def _column(
    costs: pd.DataFrame, key: str, rows: Sequence[tuple[PointKey, str]]
) -> TableColumn | str:
    """The column of a cost, or a note that it has no value."""
    part = costs[costs["key"] == key]
    if not np.isfinite(part["value"]).any():
        reasons = "; ".join(dict.fromkeys(clean(r, longest=120) for r in part["reason"] if r))
        return f"{cost_title(key, '')}: no value ({reasons})."
    unit = str(part["unit"].iloc[0])
    found = [_values(costs, f"{key}{end}") for end in ("", *QUARTILES)]

    def cell(row: tuple[PointKey, str]) -> Cell:
        middle, low, high = (cost_text(each.get(row, math.nan), unit) for each in found)
        return Cell(middle, low, high) if low != NONE else Cell(middle)

    return TableColumn(cost_title(key, unit), [cell(row) for row in rows])


def _values(costs: pd.DataFrame, key: str) -> dict[tuple[PointKey, str], float]:
    """The values of a key, by point and domain."""
    fields = costs.loc[costs["key"] == key, [*POINT_KEY, "domain", "value"]]
    return {
        (PointKey(*names), domain): value
        for *names, domain, value in fields.itertuples(index=False, name=None)
    }


def timing_text(card: RunCard) -> str:
    """How the times of a run were taken, in words; "" where its manifest does not tell."""
    counts = [card.timing.get(name) for name in ("repeats", "clips", "batch", "threads", "warm_up")]
    repeats, clips, batch, threads, warm_up = (int(n) if isinstance(n, int) else 0 for n in counts)
    if not repeats:
        return ""
    return (
        "Real-time factors are seconds of computing per second of audio: median [quartiles] of "
        f"{_times(repeats, 'run')} on {'each of ' * (clips > 1)}{_times(clips, 'clip')}, "
        f"{_times(batch, 'clip')} at a time, {_times(threads, 'thread')}, after "
        f"{_times(warm_up, 'run')} to warm up. Resampling, layouts of channels, files and the "
        "reading of models are charged to no codec; a stream is made at the encoder's cost and "
        "read at the decoder's."
    )


def _times(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _rows(costs: pd.DataFrame, card: RunCard) -> list[tuple[PointKey, str]]:
    fields = costs[[*POINT_KEY, "domain"]].drop_duplicates().astype(str)
    found = [(PointKey(*names), d) for *names, d in fields.itertuples(index=False, name=None)]
    order = point_order(card)
    return sorted(found, key=lambda row: (order(row[0]), row[1]))
