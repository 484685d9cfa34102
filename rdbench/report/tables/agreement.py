"""How well metrics agree with listeners, as tables: one for systems, one for clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.report.names import clean
from rdbench.report.numbers import with_interval
from rdbench.report.tables.table import Cell, Table, TableColumn, words
from rdbench.report.text.columns import aligned, folded, markdown_table, packed

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.report.cards import RunCard

WIDEST = 118
TITLES = {"pearson": "Pearson", "spearman": "Spearman", "kendall": "Kendall", "rmse": "RMSE"}
PAIRS = {"system": "points", "clip": "clips at a point"}
READING = (
    "1: the metric orders as listeners do, whichever way of it is better. RMSE: on the listeners' "
    "scale, after a cubic that never falls; the least stands first. In brackets: 95 % intervals "
    "over groups of clips and listeners; the systems are those of the test."
)


def agreement_tables(table: pd.DataFrame, card: RunCard) -> list[Table]:
    """A table for each domain, scale and level; table: of `rdbench.analysis.listeners.agreement`.

    >>> import pandas
    >>> from rdbench.analysis.listeners.agreement import AGREEMENT_COLUMNS
    >>> agreement_tables(pandas.DataFrame(columns=AGREEMENT_COLUMNS), None)
    []
    """
    made = []
    for (domain, scale, level), part in table.groupby(["domain", "scale", "level"], sort=False):
        listeners = card.metrics[str(scale)]
        columns = [
            TableColumn(
                f"{title}, {listeners.unit or listeners.name}" if name == "rmse" else title,
                [Cell(_text(row, name)) for _, row in part.iterrows()],
            )
            for name, title in TITLES.items()
        ]
        head = [
            words("metric", [clean(key) for key in part["metric"]]),
            words("n", [str(n) for n in part["n"]], right=True),
        ]
        made.append(
            Table(
                f"agreement_{domain}_{scale}_{level}",
                f"{card.domain_label(str(domain))}: {listeners.name} by {level}",
                f"n: {PAIRS[str(level)]}.",
                head,
                columns,
            )
        )
    return made


def agreement_text(tables: list[Table], *, width: int | None) -> str:
    """For a terminal of `width` columns, None for as wide as it comes."""
    parts = []
    for table in tables:
        head, columns = ([one.column for one in side] for side in (table.head, table.columns))
        blocks = packed(head, columns, width=width or 10_000)
        parts.append("\n\n".join([f"{table.title}; {table.caption}", *map(aligned, blocks)]))
    text = "\n\n".join([*parts, READING])
    return folded(text, width=width) if width else text


def agreement_page(tables: list[Table]) -> str:
    """The same as Markdown."""
    parts = ["# Metrics and listeners", READING]
    for table in tables:
        parts += [f"## {table.title}", table.caption]
        head, columns = ([one.column for one in side] for side in (table.head, table.columns))
        parts += map(markdown_table, packed(head, columns, width=WIDEST))
    return "\n\n".join(parts) + "\n"


def _text(row: pd.Series, name: str) -> str:
    return with_interval(
        lambda value: f"{value:.2f}".replace("-", "−"),
        row[name],
        row[f"{name}_low"],
        row[f"{name}_high"],
    )
