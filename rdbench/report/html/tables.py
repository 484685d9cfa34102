"""Tables of the page: those of a run (`rdbench.report.tables.run_tables`), and what has no value.

They stand in the page as plain HTML, to be read, copied and printed without a script. The page
sorts them: beside the text of a number stands its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.report.tables.missing import missing_table
from rdbench.report.tables.run_tables import run_tables
from rdbench.report.tables.table import Cell, Table
from rdbench.report.text.status import read_notes

if TYPE_CHECKING:
    from rdbench.report.config import ReportConfig
    from rdbench.report.html.content import Content


@dataclass(frozen=True)
class Section:
    """The tables of one domain, or of all; notes: sentences below them."""

    name: str
    tables: list[Table]
    notes: list[str]


def sections(content: Content, *, config: ReportConfig) -> list[Section]:
    """All tables of a run, with BD-rates as `config` asks for.

    Raises RdbenchError for a curve that is not there.
    """
    found = run_tables(
        content.points,
        content.run.manifest,
        run=content.run,
        reference=config.anchor,
        notes=read_notes(content.folder),
        seed=config.seed,
    )
    made = []
    for part in found.domains:
        tables = [part.scores, part.rates, *part.bd, missing_table(part.inside, content.card)]
        shown = [table for table in tables if table.columns]
        made.append(Section(content.card.domain_label(part.domain), shown, part.missing))
    if found.costs is not None and found.costs.columns:
        made.append(Section("Costs", [found.costs], []))
    if found.notes is not None:
        made.append(Section(found.notes.title, [found.notes], []))
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
