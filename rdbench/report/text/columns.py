"""Columns of text, as a Markdown table or aligned for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rdbench.report.names import markdown

GAP = "  "
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Column:
    """A heading with its cells; numbers stand to the right.

    bold: rows whose number is set in bold where there is markup.
    """

    title: str
    cells: Sequence[str]
    right: bool = False
    bold: frozenset[int] = frozenset()

    @cached_property
    def width(self) -> int:
        """The widest cell or heading, in terminal cells."""
        return max(map(_cells, (self.title, *self.cells)))

    def padded(self, text: str) -> str:
        """`text` filled up to the column's width."""
        fill = " " * (self.width - _cells(text))
        return fill + text if self.right else text + fill


def packed(head: Sequence[Column], columns: Iterable[Column], *, width: int) -> list[list[Column]]:
    """Spreads `columns` over tables of at most `width`, each with `head` in front."""
    start = sum(column.width + 3 for column in head) + 1
    blocks: list[list[Column]] = []
    used = width + 1
    for column in columns:
        needed = column.width + 3
        if used + needed > width:
            blocks.append([*head])
            used = start
        blocks[-1].append(column)
        used += needed
    return blocks


def filled(block: Sequence[Column], head: int, *, nothing: str) -> list[Column]:
    """`block` without rows in which no column after the first `head` has a value.

    A wide table is cut into blocks of columns; of kinds of rate, most systems have few.
    """
    kept = [
        index
        for index in range(len(block[0].cells))
        if any(column.cells[index] not in ("", nothing) for column in block[head:])
    ]
    place = {index: number for number, index in enumerate(kept)}
    return [
        Column(
            column.title,
            [column.cells[index] for index in kept],
            column.right,
            frozenset(place[index] for index in column.bold if index in place),
        )
        for column in block
    ]


def markdown_table(columns: Sequence[Column]) -> str:
    """A Markdown table that is aligned in a terminal too; cells are taken literally."""
    safe = [
        Column(
            markdown(c.title),
            [_bold(markdown(cell)) if i in c.bold else markdown(cell)
             for i, cell in enumerate(c.cells)],
            c.right,
        )
        for c in columns
    ]  # fmt: skip
    rule = ["-" * (c.width + 1) + ":" if c.right else "-" * (c.width + 2) for c in safe]
    lines = [_row(c.padded(c.title) for c in safe), "|" + "|".join(rule) + "|"]
    lines += [_row(c.padded(c.cells[index]) for c in safe) for index in range(len(safe[0].cells))]
    return "\n".join(lines)


def aligned(columns: Sequence[Column]) -> str:
    """The same without rules, for a terminal."""
    lines = [GAP.join(c.padded(c.title) for c in columns)]
    lines += [
        GAP.join(c.padded(c.cells[index]) for c in columns)
        for index in range(len(columns[0].cells))
    ]
    return "\n".join(line.rstrip() for line in lines)


def fitted(columns: Sequence[Column], *, width: int) -> str:
    """`aligned`, or where that is wider than `width` a paragraph for each row."""
    if sum(c.width for c in columns) + len(GAP) * (len(columns) - 1) <= width:
        return aligned(columns)
    lines = []
    for cells in zip(*(c.cells for c in columns), strict=True):
        named = [f"{c.title}: {cell}" for c, cell in zip(columns, cells, strict=True)][2:]
        # A number and its interval stay on one line.
        whole = [part.replace(" ", NO_BREAK) if len(part) < width / 2 else part for part in named]
        lines += [GAP.join(cells[:2]), GAP + "; ".join(whole)]
    return folded("\n".join(lines), width=width).replace(NO_BREAK, " ")


def folded(text: str, *, width: int) -> str:
    """Lines that are longer than `width` are broken between words, the rest of them indented."""
    return "\n".join(
        line
        if _cells(line) <= width
        else textwrap.fill(
            line,
            max(width, 20),
            subsequent_indent=" " * (len(line) - len(line.lstrip())) + GAP,
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )


def _bold(cell: str) -> str:
    number, space, rest = cell.partition(" ")
    return f"**{number}**{space}{rest}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(text: str) -> int:
    """Terminal cells: a wide sign takes two."""
    from rich.cells import cell_len

    return cell_len(text)
