"""One legend for a whole figure, below its panels; a column per family of systems on request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.report.figures.curves import LONGEST_NAME, Drawn
from rdbench.report.names import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

OTHERS = "other"
LINES = "anchors"
MOST_COLUMNS = 6


@dataclass(frozen=True)
class Plan:
    """A legend before it is drawn. headings: labels that name a family."""

    handles: list[Any]
    labels: list[str]
    columns: int
    headings: frozenset[str]

    @property
    def rows(self) -> int:
        """How many rows it will have."""
        return math.ceil(len(self.labels) / self.columns)


def plan_legend(
    drawn: Drawn,
    *,
    inches: float,
    families: bool = False,
    curves: bool = True,
    levels: bool = True,
) -> Plan:
    """The legend of `drawn` for a figure that is `inches` wide.

    families: a column with a heading per family of systems, where that says more than the names.
    curves, levels: whether they are named here.
    """
    entries = {k: v for k, v in drawn.legend.items() if curves or k not in drawn.series}
    lines = dict(drawn.levels) if levels else {}
    if families and curves:
        groups = _by_family(drawn, entries)
        if 1 < len(groups) < len(entries):
            groups |= {LINES: lines} if lines else {}
            return _by_columns(groups, inches)
    labels = [*entries, *lines]
    columns = fitting(labels, inches)
    handles, labels = _row_by_row([*entries.values(), *lines.values()], labels, columns)
    return Plan(handles, labels, columns, frozenset())


def draw_legend(figure: Figure, plan: Plan) -> None:
    """Adds the legend below the panels."""
    if not plan.labels:
        return
    # A leading underscore would hide the entry.
    shown = [f" {label}" if label.startswith("_") else label for label in plan.labels]
    legend = figure.legend(plan.handles, shown, loc="outside lower center", ncols=plan.columns)
    for text, label, handle in zip(legend.get_texts(), plan.labels, plan.handles, strict=True):
        if label in plan.headings and not handle.get_visible():
            text.set_fontweight("bold")


def fitting(labels: Sequence[str], inches: float) -> int:
    """How many columns of `labels`, read row by row, fit into the width."""
    from matplotlib import rcParams

    size = float(rcParams["legend.fontsize"])
    # What a legend adds to the text of a label, in sizes of its type.
    signs = rcParams["legend.handlelength"] + rcParams["legend.handletextpad"]
    around = float(signs + rcParams["legend.columnspacing"]) * size / 72
    widths = [_inches(label, size) + around for label in labels]
    for columns in range(min(len(labels), MOST_COLUMNS), 1, -1):
        if sum(max(widths[column::columns]) for column in range(columns)) <= inches:
            return columns
    return 1


def _inches(text: str, size: float) -> float:
    """The width of a line of text of `size` points in the font of the figure."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(width) / 72


def _row_by_row(
    handles: list[Line2D], labels: list[str], columns: int
) -> tuple[list[Line2D], list[str]]:
    """Matplotlib fills columns; this order makes them read in rows."""
    order: list[int] = []
    for column in range(columns):
        order += range(column, len(labels), columns)
    return [handles[i] for i in order], [labels[i] for i in order]


def _by_family(drawn: Drawn, entries: Mapping[str, Line2D]) -> dict[str, dict[str, Line2D]]:
    groups: dict[str, dict[str, Line2D]] = {}
    for label, handle in entries.items():
        series = drawn.series.get(label)
        family = (series.family if series else "") or OTHERS
        groups.setdefault(clean(family, longest=LONGEST_NAME), {})[label] = handle
    return groups


def _by_columns(groups: Mapping[str, Mapping[str, Line2D]], inches: float) -> Plan:
    """Headings with their entries, filled up so that every family begins a column."""
    from matplotlib.lines import Line2D

    blank = Line2D([], [], linestyle="none", visible=False)
    labels = [label for group in groups.values() for label in group]
    columns = min(len(groups), fitting(labels, inches))
    # More families than columns: several stand in one, each in the pile that is shortest by then.
    piles: list[list[tuple[Any, str]]] = [[] for _ in range(columns)]
    for name, group in groups.items():
        pile = min(piles, key=len)
        pile += [(blank, name), *((handle, label) for label, handle in group.items())]
    tallest = max(map(len, piles))
    cells = [cell for pile in piles for cell in [*pile, *[(blank, "")] * (tallest - len(pile))]]
    return Plan([h for h, _ in cells], [label for _, label in cells], columns, frozenset(groups))
