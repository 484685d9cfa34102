"""A table before it is Markdown, LaTeX or HTML: columns of cells that still know what is a number,
an interval or a count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rdbench.report.numbers import NONE
from rdbench.report.text.columns import Column


@dataclass(frozen=True)
class Cell:
    """One value as it is written.

    text: the number or the words; "" where nothing was asked for. low, high: ends of the interval,
    "" without one. count: "38/40" where not all clips have a value. mark: a sign behind it. bold:
    significantly the best.
    """

    text: str
    low: str = ""
    high: str = ""
    count: str = ""
    mark: str = ""
    bold: bool = False

    @property
    def interval(self) -> str:
        """The interval in brackets, "" without one."""
        return f"[{self.low}, {self.high}]" if self.low else ""

    @property
    def plain(self) -> str:
        """All of it in one line."""
        parts = (self.text + self.mark, self.interval, self.count)
        return " ".join(part for part in parts if part) or NONE


@dataclass(frozen=True)
class TableColumn:
    """A heading with its cells; numeric: numbers, set to align at the decimal point."""

    title: str
    cells: Sequence[Cell]
    numeric: bool = True

    @property
    def column(self) -> Column:
        """For Markdown and terminals."""
        bold = frozenset(i for i, cell in enumerate(self.cells) if cell.bold)
        return Column(self.title, [cell.plain for cell in self.cells], self.numeric, bold)


@dataclass(frozen=True)
class Table:
    """A table with what a reader needs to know of it.

    name: for file names and labels. head: the columns that say what a row is; they stand in front
    of every part of a table that is too wide. caption: plain sentences, corpus, protocol and kind
    of rate among them. notes: sentences below it.
    """

    name: str
    title: str
    caption: str
    head: Sequence[TableColumn]
    columns: Sequence[TableColumn]
    notes: Sequence[str] = field(default=())

    @property
    def plain(self) -> list[Column]:
        """All columns, for Markdown and terminals."""
        return [column.column for column in (*self.head, *self.columns)]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.head[0].cells)


def words(title: str, texts: Sequence[str], *, right: bool = False) -> TableColumn:
    """A column of words; `right` for labels that are numbers."""
    return TableColumn(title, [Cell(text) for text in texts], right)
