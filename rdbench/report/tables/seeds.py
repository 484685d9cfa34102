"""The spread of scores over seeds as a table: a row for each point that was drawn several times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.analysis.arrays import PointKey
from rdbench.report.cards import RESIDUAL_DELAY, RunCard, ordered, records
from rdbench.report.numbers import spread_text
from rdbench.report.tables.rows import POINT_KEY, point_columns, point_keys
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd


def seeds_table(found: pd.DataFrame, card: RunCard, domain: str, *, about: str) -> Table | None:
    """The table of one domain, None where nothing was drawn more than once.

    found: of `rdbench.analysis.seeds.seed_table`.
    """
    inside = found[(found["domain"] == domain) & (found["key"] != RESIDUAL_DELAY)]
    if inside.empty:
        return None
    rows = point_keys(inside, card)
    counts = inside.groupby(POINT_KEY)["n_seeds"].max().to_dict()
    head = point_columns(rows, card)
    head.append(words("seeds", [str(counts[key]) for key in rows], right=True))
    columns = []
    for key in ordered(list(inside["key"]), list(card.metrics)):
        metric, part = card.metrics[key], inside[inside["key"] == key]
        several = part["backend"].nunique() > 1
        for backend in part["backend"].unique():
            by_point = {
                PointKey(row.system, row.curve, row.point, row.variant): row
                for row in records(part[part["backend"] == backend])
            }
            title = f"{metric.title}, {backend}" if several else metric.title
            columns.append(TableColumn(title, [_cell(by_point.get(key)) for key in rows]))
    caption = (
        f"Standard deviation over seeds of the mean over clips, on {card.domain_label(domain)}: "
        "how much a score depends on the noise that was drawn or, of predicted latents, on what "
        "their folders differ by. Scores and intervals are those of "
        f"the protocol's seed; intervals are over groups of clips, and without this spread. {about}"
    )
    return Table("seeds", "Spread over seeds", caption, head, columns)


def _cell(row: Any) -> Cell:
    return Cell("" if row is None else spread_text(row.deviation))
