"""Tables of the page: those of a run (`rdbench.report.tables.run_tables`), and what has no value.

They stand in the page as plain HTML, to be read, copied and printed without a script. The page
sorts them: beside the text of a number stands its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.report.cards import RESIDUAL_DELAY, RunCard, records
from rdbench.report.names import clean
from rdbench.report.tables.run_tables import run_tables
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.report.html.content import Content

LONGEST_REASON = 200
COUNTS = ("undefined", "failed", "not done", "clips")


@dataclass(frozen=True)
class Section:
    """The tables of one domain, or of all; notes: sentences below them."""

    name: str
    tables: list[Table]
    notes: list[str]


def sections(content: Content, *, anchor: str | None = None, seed: int = 0) -> list[Section]:
    """All tables of a run; BD-rates are against the curve `anchor`.

    Raises RdbenchError for an anchor that is not there.
    """
    found = run_tables(
        content.points, content.run.manifest, run=content.run, anchor=anchor, seed=seed
    )
    made = []
    for part in found.domains:
        tables = [part.scores, part.rates, *part.bd, missing_table(part.inside, content.card)]
        shown = [table for table in tables if table.columns]
        made.append(Section(content.card.domain_label(part.domain), shown, part.missing))
    if found.costs is not None and found.costs.columns:
        made.append(Section("Costs", [found.costs], []))
    return made


def sort_value(cell: Cell) -> str:
    """The number that a cell is sorted by, "" for text.

    >>> sort_value(Cell("−1.50", "−1.6", "−1.4"))
    '-1.5'
    """
    text = cell.text.replace("−", "-").replace(",", "")
    number, _, suffix = text.partition(" ")
    scale = {"": 1.0, "%": 1.0, "M": 1e6, "G": 1e9}.get(suffix)
    try:
        value = float(number) * (math.nan if scale is None else scale)
    except ValueError:
        return ""
    return f"{value:g}" if math.isfinite(value) else ""


def missing_table(inside: pd.DataFrame, card: RunCard) -> Table:
    """What has no value and the most frequent reason; quantities of one fate in one row."""
    rows = inside[(inside["n_ok"] < inside["n_total"]) & (inside["kind"] != "cost")]
    fates: dict[tuple[Any, ...], list[str]] = {}
    for row in records(rows):
        metric = card.metrics.get(row.key) if row.kind == "metric" else None
        name = metric.name if metric and row.key != RESIDUAL_DELAY else row.key.replace("_", " ")
        not_done = row.n_total - row.n_ok - row.n_undefined - row.n_failed
        counts = (row.n_undefined, row.n_failed, not_done, row.n_total)
        place = (card.systems[row.system].label, clean(row.point), clean(row.variant))
        fate = (*place, *map(str, counts), clean(row.reason, longest=LONGEST_REASON))
        fates.setdefault(fate, []).append(clean(name))
    cells: list[list[str]] = [list(column) for column in zip(*fates, strict=True)]
    if not cells:
        return Table("missing", "Clips without a value", "", [], [])
    quantities = [", ".join(dict.fromkeys(names)) for names in fates.values()]
    return Table(
        "missing",
        "Clips without a value",
        "",
        [words(title, cells[i]) for i, title in enumerate(("system", "point", "variant"))],
        [
            *(TableColumn(title, [Cell(text) for text in cells[3 + i]])
              for i, title in enumerate(COUNTS)),
            words("quantities", quantities),
            words("most frequent reason", cells[-1]),
        ],
    )  # fmt: skip
