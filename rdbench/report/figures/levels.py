"""Levels, the horizontal lines of a panel: of anchors, which have no rate, and of the value that a
metric cannot exceed.

They show where a curve saturates. One far outside the curves' range is named and not drawn, so
that it does not flatten them.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.report.cards import MetricCard, RunCard, ordered, records
from rdbench.report.figures.style import (
    ANCHOR_COLOUR,
    ANCHOR_DASHES,
    CEILING_COLOUR,
    QUIET,
    Dash,
)
from rdbench.report.names import spaced

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Levels and the ceiling may widen the axis by this share of the curves' range.
LEVEL_REACH = 1.0
CEILING_REACH = 0.3
# Levels this near to the ceiling (in shares of the axis) name it as well.
SAME_LINE = 0.02
LABEL_WIDTH = 12  # letters; of more, the layout leaves no margin


@dataclass(frozen=True)
class Level:
    """The height of an anchor. dash: the same for one anchor in all panels of a run."""

    label: str
    value: float
    low: float
    high: float
    dash: Dash


@dataclass(frozen=True)
class DrawnLevels:
    """What was drawn: legend entries by name, and what lies beyond the axis, in words.

    edge: (height 0 … 1, name) for names beside the right edge.
    """

    legend: dict[str, Line2D]
    beyond: list[str]
    edge: list[tuple[float, str]]


def find_levels(rows: pd.DataFrame, card: RunCard) -> list[Level]:
    """The levels of the anchors among `rows` of `rate_distortion`, in the spec's order."""
    several = rows.groupby("system", observed=True)["point"].nunique()
    names = [name for name, system in card.systems.items() if system.anchor]
    found: list[Level] = []
    for system in ordered(list(rows["system"]), names):
        for number, row in enumerate(records(rows[rows["system"] == system])):
            label = card.systems[system].label
            label = f"{label} {spaced(row.point)}" if several[system] > 1 else label
            # Beside the curve of its streams a line is what it decodes without them.
            label = f"{label}, {row.variant}" if card.systems[system].streams else label
            dash = ANCHOR_DASHES[(names.index(system) + number) % len(ANCHOR_DASHES)]
            found.append(Level(label, row.value, row.low, row.high, dash))
    return found


def draw_levels(
    axes: Axes, curves: pd.DataFrame, levels: Sequence[Level], metric: MetricCard
) -> DrawnLevels:
    """Sets the quality axis so that curves, near levels and ceiling are seen, and draws both."""
    low, high, ceiling = _extent(curves, levels, metric)
    axes.set_ylim(low, high)
    made = DrawnLevels({}, [], [])
    if ceiling is not None:
        look: dict[str, Any] = {"color": CEILING_COLOUR, "linewidth": 0.7}
        drawn = axes.axhline(ceiling, **look, zorder=1, gid="ceiling")
        near = [abs(one.value - ceiling) < SAME_LINE * (high - low) for one in levels]
        if not any(near):
            name = "ceiling" if metric.direction == "higher" else "identity"
            made.legend[f"{name} of the metric"] = drawn
            made.edge.append(((ceiling - low) / (high - low), f"{name} {ceiling:.3g}"))
    for level in levels:
        if not low <= level.value <= high:
            way = "↑" if level.value > high else "↓"
            text = f"{level.label} {level.value:.3g} {way}"
            made.beyond.append(text)
            made.edge.append((float(level.value > high), text))
            continue
        made.legend[level.label] = axes.axhline(
            level.value, color=ANCHOR_COLOUR, linestyle=level.dash, linewidth=0.8, zorder=1.5,
            gid=f"anchor/{level.label}",
        )  # fmt: skip
        if level.high > level.low:
            axes.axhspan(level.low, level.high, color=ANCHOR_COLOUR, alpha=0.08, linewidth=0)
        made.edge.append(((level.value - low) / (high - low), level.label))
    return made


def name_at_edge(axes: Axes, labels: Sequence[tuple[float, str]], *, points: float) -> None:
    """Names beside the right edge at their heights (0 … 1), pushed apart where they would touch."""
    wrapped = [(height, _wrapped(text)) for height, text in sorted(labels)]
    # Headings and the legend will take about a quarter of the height that axes have by now.
    figure = axes.get_figure(root=True)
    assert figure is not None
    tall = 0.75 * axes.get_position().height * figure.get_figheight() * 72
    line = points * 1.3 / tall
    halves = [len(lines) * line / 2 for _, lines in wrapped]
    heights: list[float] = []
    for (wanted, _), half in zip(wrapped, halves, strict=True):
        floor = heights[-1] + halves[len(heights) - 1] + half if heights else -math.inf
        heights.append(max(wanted, floor))
    limit = 1.0
    for index in reversed(range(len(heights))):
        # Only a pile that grew beyond the top is pushed down again.
        if heights[index] <= limit:
            break
        heights[index] = limit
        limit -= halves[index] + (halves[index - 1] if index else 0.0)
    for height, (_, lines) in zip(heights, wrapped, strict=True):
        axes.annotate(
            "\n".join(lines), (1, height), xycoords="axes fraction", xytext=(3, 0),
            textcoords="offset points", va="center", ha="left", fontsize=points,
            color=QUIET, linespacing=1.0, annotation_clip=False,
        )  # fmt: skip


def _extent(
    curves: pd.DataFrame, levels: Sequence[Level], metric: MetricCard
) -> tuple[float, float, float | None]:
    """The ends of the quality axis, and the ceiling where it is within them."""
    ends = curves[["value", "low", "high"]].to_numpy(float)
    values = ends if ends.size else np.array([[one.value] for one in levels] or [[0.0]])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    # A single point has hardly a range of its own.
    span = max(high - low, 0.2 * abs(high)) or 1.0
    inner = (low - LEVEL_REACH * span, high + LEVEL_REACH * span)
    for level in levels:
        if inner[0] <= level.value <= inner[1]:
            low, high = min(low, level.value), max(high, level.value)
    ceiling = metric.identity
    shown = (
        math.isfinite(ceiling)
        and low - CEILING_REACH * span <= ceiling <= high + CEILING_REACH * span
    )
    if shown:
        low, high = min(low, ceiling), max(high, ceiling)
    margin = 0.06 * max(high - low, 0.2 * span)
    return low - margin, high + margin, ceiling if shown else None


def _wrapped(text: str) -> list[str]:
    """At most three lines; a number stays with its unit or arrow."""
    held = re.sub(r"(?<=\d) (?=\S)", "\N{NO-BREAK SPACE}", text)
    return textwrap.wrap(held, LABEL_WIDTH)[:3]
