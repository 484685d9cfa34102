"""Listeners' scores over the values of metrics: a panel for each metric, of one domain and scale.

Small marks are clips, large ones the means of a point; the line is the cubic without a turn, by
which the residual is taken, through what the panel's numbers are of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.listeners.mapping import COEFFICIENTS, monotone_cubic
from rdbench.report.figures.style import QUIET, curve_styles
from rdbench.report.names import clean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rdbench.report.cards import RunCard
    from rdbench.report.figures.style import CurveStyle

COLUMNS = 4
PANEL_INCHES = 1.75
_LEGEND_COLUMNS = 4


def draw_agreement(pairs: pd.DataFrame, table: pd.DataFrame, card: RunCard) -> Figure:
    """pairs, table: of `rdbench.analysis.listeners.agreement`, of one domain and scale."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    metrics = list(dict.fromkeys(zip(table["metric"], table["backend"], strict=True)))
    points = list(dict.fromkeys(map(tuple, pairs[["system", "point", "variant"]].to_numpy())))
    styles = curve_styles([_name(point, points) for point in points])
    columns = min(COLUMNS, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    entries = math.ceil(len(points) / _LEGEND_COLUMNS)
    figure = Figure(layout="constrained")
    figure.set_size_inches(
        PANEL_INCHES * max(columns, 2), PANEL_INCHES * rows + 0.17 * entries + 0.1
    )
    scale = card.metrics[str(table["scale"].iloc[0])]
    for number, (metric, backend) in enumerate(metrics):
        axes = figure.add_subplot(rows, columns, number + 1)
        of_metric = (pairs["metric"] == metric) & (pairs["backend"] == backend)
        towards = card.metrics[metric].direction == scale.direction
        _draw_panel(axes, pairs[of_metric], points, styles, 1 if towards else -1)
        held = table[(table["metric"] == metric) & (table["backend"] == backend)]
        axes.set_title(clean(metric), fontsize="medium")
        axes.text(0.03, 0.97, _said(held), transform=axes.transAxes, va="top", fontsize="x-small",
                  color=QUIET)  # fmt: skip
        axes.margins(y=0.2)
        if number % columns == 0:
            axes.set_ylabel(clean(scale.title))
    handles = [
        Line2D([], [], linestyle="", marker=style.marker, color=style.colour, label=clean(name))
        for name, style in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=_LEGEND_COLUMNS, frameon=False)
    return figure


def _draw_panel(
    axes: Axes,
    pairs: pd.DataFrame,
    points: list[tuple[str, ...]],
    styles: Mapping[str, CurveStyle],
    sign: int,
) -> None:
    clips = pairs[pairs["level"] == "clip"]
    for point in points:
        style = styles[_name(point, points)]
        for level, size, alpha in (("clip", 2.0, 0.45), ("system", 5.5, 1.0)):
            chosen = (pairs[["system", "point", "variant"]] == list(point)).all(axis=1)
            part = pairs[chosen & (pairs["level"] == level)]
            axes.plot(
                part["value"], part["score"], linestyle="", marker=style.marker, markersize=size,
                color=style.colour, alpha=alpha, markeredgewidth=0.4,
                markeredgecolor="white" if level == "system" else style.colour,
                zorder=3 if level == "system" else 2,
            )  # fmt: skip
    fitted = clips if len(clips) else pairs
    values = fitted["value"].to_numpy(dtype=float)
    if len(fitted) > COEFFICIENTS and np.ptp(values) > 0:
        line = np.linspace(values.min(), values.max(), 200)
        cubic = monotone_cubic(sign * values, fitted["score"].to_numpy(dtype=float))
        axes.plot(line, cubic(sign * line), color=QUIET, linewidth=0.8, zorder=1)


def _said(table: pd.DataFrame) -> str:
    lines = []
    for _, row in table.iterrows():
        if math.isfinite(row["spearman"]):
            text = f"{row['spearman']:.2f}".replace("-", "−")
            lines.append(f"ρ {text} by {row['level']}")
    return "\n".join(lines)


def _name(point: tuple[str, ...], points: list[tuple[str, ...]]) -> str:
    """A point as the legend names it, without what all of them share."""
    shared = [len({other[place] for other in points}) == 1 for place in range(len(point))]
    parts = [text for text, same in zip(point, shared, strict=True) if not same]
    return " ".join(parts) or point[0]
