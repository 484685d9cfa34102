"""Horizontal lines of a panel: systems without a rate, and the value that a metric cannot exceed.

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
from rdbench.report.figures.style import ANCHOR_COLOUR, ANCHOR_DASHES, CEILING_COLOUR, Dash

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Anchors and the ceiling may widen the axis by this share of the curves' range.
ANCHOR_REACH = 1.0
CEILING_REACH = 0.3
# Anchors this near to the ceiling (in shares of the axis) name it as well.
SAME_LINE = 0.02
LABEL_WIDTH = 13
QUIET = "#4A4A4A"


@dataclass(frozen=True)
class Anchor:
    """A horizontal line. dash: the same for one anchor in all panels of a run."""

    label: str
    value: float
    low: float
    high: float
    dash: Dash


@dataclass(frozen=True)
class Lines:
    """What was drawn: legend entries by name, and what lies beyond the axis, in words.

    edge: (height 0 … 1, name) for names beside the right edge.
    """

    legend: dict[str, Line2D]
    beyond: list[str]
    edge: list[tuple[float, str]]


def find_anchors(rows: pd.DataFrame, card: RunCard) -> list[Anchor]:
    """The anchors among `rows` of `rate_distortion`, in the spec's order."""
    several = rows.groupby("system", observed=True)["point"].nunique()
    names = [name for name, system in card.systems.items() if system.anchor]
    found: list[Anchor] = []
    for system in ordered(list(rows["system"]), names):
        for number, row in enumerate(records(rows[rows["system"] == system])):
            label = card.systems[system].label
            label = f"{label} {row.point}" if several[system] > 1 else label
            # Beside the curve of its streams a line is what it decodes without them.
            label = f"{label}, {row.variant}" if card.systems[system].coded else label
            dash = ANCHOR_DASHES[(names.index(system) + number) % len(ANCHOR_DASHES)]
            found.append(Anchor(label, row.value, row.low, row.high, dash))
    return found


def draw_anchors(
    axes: Axes, curves: pd.DataFrame, anchors: Sequence[Anchor], metric: MetricCard
) -> Lines:
    """Sets the quality axis so that curves, near anchors and ceiling are seen, and draws both."""
    low, high, ceiling = _extent(curves, anchors, metric)
    axes.set_ylim(low, high)
    lines = Lines({}, [], [])
    if ceiling is not None:
        look: dict[str, Any] = {"color": CEILING_COLOUR, "linewidth": 0.7}
        drawn = axes.axhline(ceiling, **look, zorder=1, gid="ceiling")
        near = [abs(a.value - ceiling) < SAME_LINE * (high - low) for a in anchors]
        if not any(near):
            name = "ceiling" if metric.direction == "higher" else "identity"
            lines.legend[f"{name} of the metric"] = drawn
            lines.edge.append(((ceiling - low) / (high - low), f"{name} {ceiling:.3g}"))
    for anchor in anchors:
        if not low <= anchor.value <= high:
            way = "↑" if anchor.value > high else "↓"
            text = f"{anchor.label} {anchor.value:.3g} {way}"
            lines.beyond.append(text)
            lines.edge.append((float(anchor.value > high), text))
            continue
        lines.legend[anchor.label] = axes.axhline(
            anchor.value, color=ANCHOR_COLOUR, linestyle=anchor.dash, linewidth=0.8, zorder=1.5,
            gid=f"anchor/{anchor.label}",
        )  # fmt: skip
        if anchor.high > anchor.low:
            axes.axhspan(anchor.low, anchor.high, color=ANCHOR_COLOUR, alpha=0.08, linewidth=0)
        lines.edge.append(((anchor.value - low) / (high - low), anchor.label))
    return lines


def name_at_edge(axes: Axes, labels: Sequence[tuple[float, str]], *, points: float) -> None:
    """Names beside the right edge at their heights (0 … 1), pushed apart where they would touch."""
    wrapped = [(height, _wrapped(text)) for height, text in sorted(labels)]
    # Headings and the legend will take about a quarter of the height that axes have by now.
    figure = axes.get_figure(root=True)
    assert figure is not None
    tall = 0.75 * axes.get_position().height * figure.get_figheight() * 72
    line = points * 1.3 / tall
    halves = [len(lines) * line / 2 for _, lines in wrapped]
    places: list[float] = []
    for (height, _), half in zip(wrapped, halves, strict=True):
        floor = places[-1] + halves[len(places) - 1] + half if places else -math.inf
        places.append(max(height, floor))
    limit = 1.0
    for index in reversed(range(len(places))):
        # Only a pile that grew beyond the top is pushed down again.
        if places[index] <= limit:
            break
        places[index] = limit
        limit -= halves[index] + (halves[index - 1] if index else 0.0)
    for place, (_, lines) in zip(places, wrapped, strict=True):
        axes.annotate(
            "\n".join(lines), (1, place), xycoords="axes fraction", xytext=(3, 0),
            textcoords="offset points", va="center", ha="left", fontsize=points,
            color=QUIET, linespacing=1.0, annotation_clip=False,
        )  # fmt: skip


def _extent(
    curves: pd.DataFrame, anchors: Sequence[Anchor], metric: MetricCard
) -> tuple[float, float, float | None]:
    """The ends of the quality axis, and the ceiling where it is within them."""
    ends = curves[["value", "low", "high"]].to_numpy(float)
    values = ends if ends.size else np.array([[a.value] for a in anchors] or [[0.0]])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    # A single point has hardly a range of its own.
    span = max(high - low, 0.2 * abs(high)) or 1.0
    inner = (low - ANCHOR_REACH * span, high + ANCHOR_REACH * span)
    for anchor in anchors:
        if inner[0] <= anchor.value <= inner[1]:
            low, high = min(low, anchor.value), max(high, anchor.value)
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
