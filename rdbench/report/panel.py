"""One rate–quality panel: the curves of one domain and metric on given axes.

Only measured points are drawn and joined, in order of measured rate. What is not a rate point
(the mean of a posterior at the price of its KL) is dotted and hollow and says so in the legend.
Anchors are lines with their name at the right edge; one far outside the curves' range is named at
the edge nearest to it, so that it does not flatten them.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.report.describe import VARIANTS, MetricCard, RunCard, ordered, records
from rdbench.report.style import (
    ANCHOR_COLOUR,
    ANCHOR_DASHES,
    CEILING_COLOUR,
    MEAN_DASH,
    CurveStyle,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# An interval on the rate axis that is narrower than the marker says nothing.
RATE_INTERVAL_WORTH = 0.12
# Anchors and the ceiling may widen the axis by this share of the curves' range.
ANCHOR_REACH = 1.0
CEILING_REACH = 0.3
# At the least, a rate axis spans this factor.
NARROW_SPAN = 14.0  # ratio of rates under which the axis has more labels
LEAST_SPAN = 4.0
LABEL_POINTS = 6.0
LABEL_WIDTH = 13
QUALITY_WIDTH = 38
NAMED_MISSING = 3


@dataclass
class Drawn:
    """What a panel holds: legend entries by label, kinds of rate, remarks for its heading."""

    legend: dict[str, Line2D] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, other: Drawn) -> None:
        """Joins the entries of another panel."""
        self.legend |= {k: v for k, v in other.legend.items() if k not in self.legend}
        self.kinds = ordered([*self.kinds, *other.kinds], ())


@dataclass(frozen=True)
class Anchor:
    """A horizontal line."""

    label: str
    value: float
    low: float
    high: float


def draw_panel(
    axes: Axes,
    data: pd.DataFrame,
    *,
    metric: MetricCard,
    card: RunCard,
    styles: Mapping[str, CurveStyle],
    kinds: Sequence[str],
) -> Drawn:
    """Draws `data`, rows of `rate_distortion` of one domain, metric and backend.

    kinds: the rate kinds on the figure's axis; curves name theirs where there are several.
    """
    scored = data[np.isfinite(data["value"])]
    curves = scored[~scored["anchor"] & np.isfinite(scored["kbps"])]
    drawn = Drawn(kinds=ordered(list(curves["rate_kind"]), kinds))
    for curve in ordered(list(curves["curve"]), card.curves):
        part = curves[curves["curve"] == curve]
        for variant in ordered(list(part["variant"]), VARIANTS):
            line = part[part["variant"] == variant].sort_values("kbps", kind="stable")
            label = _curve_label(card.curve_label(curve), variant, line, several=len(kinds) > 1)
            drawn.legend[label] = _draw_curve(axes, line, styles[curve], variant)
    anchors = _anchors(scored[scored["anchor"]], card)
    _finish_axes(axes, curves, anchors, metric)
    axes.set_ylabel("\n".join(textwrap.wrap(quality_label(metric), QUALITY_WIDTH)))
    drawn.remarks = _remarks(data, card)
    return drawn


def quality_label(metric: MetricCard) -> str:
    """The label of the quality axis, with the way that is better."""
    way = f" {metric.arrow}\N{NO-BREAK SPACE}better" if metric.arrow else ""
    return metric.title + way


def rate_label(kinds: Sequence[str]) -> str:
    """The label of the rate axis; never without the kind of bits."""
    return f"bitrate (kbps, log), {' / '.join(kinds)}" if kinds else "bitrate (kbps, log)"


def _curve_label(name: str, variant: str, line: pd.DataFrame, *, several: bool) -> str:
    if not line["rate_point"].any():
        return f"{name}, {variant} (not a rate point)"
    kinds = ", ".join(dict.fromkeys(line["rate_kind"]))
    return f"{name} ({kinds})" if several else name


def _draw_curve(axes: Axes, line: pd.DataFrame, style: CurveStyle, variant: str) -> Line2D:
    from matplotlib.lines import Line2D

    hollow = not line["rate_point"].any()
    look: dict[str, Any] = {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": MEAN_DASH if hollow else style.dash,
        "linewidth": 0.9 if hollow else 1.2,
        "markeredgecolor": style.colour,
        "markerfacecolor": "white" if hollow else style.colour,
        "markeredgewidth": 0.8,
    }
    if variant == "coded":
        look |= {"fillstyle": "left", "markerfacecoloralt": "white", "linewidth": 0.9}
    x, y = line["kbps"].to_numpy(float), line["value"].to_numpy(float)
    gid = f"{line['curve'].iloc[0]}/{variant}"
    axes.plot(x, y, **look, zorder=3 if hollow else 4, gid=gid)
    _draw_intervals(axes, line, style.colour)
    single = len(line) == 1
    return Line2D([], [], **(look | {"linestyle": "none"} if single else look))


def _draw_intervals(axes: Axes, line: pd.DataFrame, colour: str) -> None:
    bars: dict[str, Any] = {
        "fmt": "none",
        "ecolor": colour,
        "elinewidth": 0.7,
        "capsize": 1.6,
        "capthick": 0.6,
    }
    x, y = line["kbps"].to_numpy(float), line["value"].to_numpy(float)
    low, high = line["low"].to_numpy(float), line["high"].to_numpy(float)
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        # BCa intervals of tiny samples may leave the estimate outside: no negative bars.
        heights = np.maximum(np.stack([y - low, high - y])[:, known], 0)
        axes.errorbar(x[known], y[known], yerr=heights, zorder=2, **bars)
    left, right = line["kbps_low"].to_numpy(float), line["kbps_high"].to_numpy(float)
    wide = (right - left) / x > RATE_INTERVAL_WORTH
    if wide.any():
        widths = np.maximum(np.stack([x - left, right - x])[:, wide], 0)
        axes.errorbar(x[wide], y[wide], xerr=widths, zorder=2, **bars)


def _anchors(rows: pd.DataFrame, card: RunCard) -> list[Anchor]:
    several = rows.groupby("system", observed=True)["point"].nunique()
    found = []
    for system in ordered(list(rows["system"]), list(card.systems)):
        for row in records(rows[rows["system"] == system]):
            label = card.systems[system].label
            label = f"{label} {row.point}" if several[system] > 1 else label
            found.append(Anchor(label, row.value, row.low, row.high))
    return found


def _finish_axes(
    axes: Axes, curves: pd.DataFrame, anchors: Sequence[Anchor], metric: MetricCard
) -> None:
    _rate_axis(axes, curves["kbps"].to_numpy(float))
    ends = curves[["value", "low", "high"]].to_numpy(float)
    values = ends if ends.size else np.array([[a.value] for a in anchors] or [[0.0]])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    # A single point has hardly a range of its own.
    span = max(high - low, 0.2 * abs(high)) or 1.0
    inner = (low, high)
    for value in (a.value for a in anchors):
        if inner[0] - ANCHOR_REACH * span <= value <= inner[1] + ANCHOR_REACH * span:
            low, high = min(low, value), max(high, value)
    ceiling = metric.identity
    shown = (
        math.isfinite(ceiling)
        and low - CEILING_REACH * span <= ceiling <= high + CEILING_REACH * span
    )
    if shown:
        low, high = min(low, ceiling), max(high, ceiling)
    margin = 0.06 * max(high - low, 0.2 * span)
    axes.set_ylim(low - margin, high + margin)
    if shown:
        axes.axhline(ceiling, color=CEILING_COLOUR, linewidth=0.6, zorder=1, gid="ceiling")
    _draw_anchors(axes, anchors, ceiling if shown else None, metric)


def _draw_anchors(
    axes: Axes, anchors: Sequence[Anchor], ceiling: float | None, metric: MetricCard
) -> None:
    low, high = axes.get_ylim()
    labels: list[tuple[float, str]] = []
    for index, anchor in enumerate(anchors):
        if anchor.value > high or anchor.value < low:
            way = "↑" if anchor.value > high else "↓"
            labels.append((float(anchor.value > high), f"{anchor.label} {anchor.value:.3g} {way}"))
            continue
        dash = ANCHOR_DASHES[index % len(ANCHOR_DASHES)]
        axes.axhline(
            anchor.value, color=ANCHOR_COLOUR, linestyle=dash, linewidth=0.8, zorder=1.5,
            gid=f"anchor/{anchor.label}",
        )  # fmt: skip
        if anchor.high > anchor.low:
            axes.axhspan(anchor.low, anchor.high, color=ANCHOR_COLOUR, alpha=0.08, linewidth=0)
        labels.append(((anchor.value - low) / (high - low), anchor.label))
    near = [abs(a.value - ceiling) < 0.02 * (high - low) for a in anchors if ceiling is not None]
    if ceiling is not None and not any(near):
        name = "ceiling" if metric.direction == "higher" else "identity"
        labels.append(((ceiling - low) / (high - low), f"{name} {ceiling:.3g}"))
    _edge_labels(axes, labels)


def _edge_labels(axes: Axes, labels: Sequence[tuple[float, str]]) -> None:
    """Names beside the right edge at their heights (0–1), pushed apart where they would touch."""
    wrapped = [(height, _wrapped(text)) for height, text in sorted(labels)]
    # Headings and the legend will take about a quarter of the height that axes have by now.
    tall = 0.75 * axes.get_position().height * axes.get_figure(root=True).get_figheight() * 72  # type: ignore[union-attr]
    line = LABEL_POINTS * 1.3 / tall
    halves = [len(lines) * line / 2 for _, lines in wrapped]
    places: list[float] = []
    for (height, _), half in zip(wrapped, halves, strict=True):
        floor = places[-1] + halves[len(places) - 1] + half if places else -math.inf
        places.append(max(height, floor))
    excess = max(places[-1] - 1.0, 0.0) if places else 0.0
    for index in reversed(range(len(places))):
        limit = places[index + 1] - halves[index + 1] - halves[index] if excess and (
            index + 1 < len(places)
        ) else 1.0  # fmt: skip
        places[index] = min(places[index], limit) if excess else places[index]
    for place, (_, lines) in zip(places, wrapped, strict=True):
        axes.annotate(
            "\n".join(lines), (1, place), xycoords="axes fraction", xytext=(3, 0),
            textcoords="offset points", va="center", ha="left", fontsize=LABEL_POINTS,
            color="#4A4A4A", linespacing=1.0, annotation_clip=False,
        )  # fmt: skip


def _wrapped(text: str) -> list[str]:
    """At most three lines; a number stays with its unit or arrow."""
    held = re.sub(r"(?<=\d) (?=\S)", "\N{NO-BREAK SPACE}", text)
    return textwrap.wrap(held, LABEL_WIDTH)[:3]


def _rate_axis(axes: Axes, rates: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    rates = rates[np.isfinite(rates) & (rates > 0)]
    low, high = (rates.min(), rates.max()) if rates.size else (1.0, 100.0)
    middle, widen = math.sqrt(low * high), max(high / low * 1.35, LEAST_SPAN)
    axes.set_xlim(middle / math.sqrt(widen), middle * math.sqrt(widen))
    # Over less than a decade 1, 2, 5 leave two labels, which read as a linear axis.
    narrow = widen < NARROW_SPAN
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if narrow else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(10, subs=subs, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(LogLocator(10, subs=tuple(range(2, 10)), numticks=40))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _remarks(data: pd.DataFrame, card: RunCard) -> list[str]:
    """Which points rest on fewer clips than they were given, and which have no rate."""
    remarks = []
    short = data[data["n_ok"] < data["n_total"]]
    if len(short):
        named = [f"{_point_name(row, card)}: {row.n_ok}/{row.n_total}"
                 for row in records(short.head(NAMED_MISSING))]  # fmt: skip
        more = len(short) - len(named)
        text = ", ".join(named) + (f" and {more} more (see table.md)" if more else "")
        remarks.append(f"clips scored: {text}; else all")
    lost = data[~data["anchor"] & ~np.isfinite(data["kbps"]) & np.isfinite(data["value"])]
    if len(lost):
        names = dict.fromkeys(_point_name(row, card) for row in records(lost))
        shown = ", ".join(list(names)[:NAMED_MISSING]) + (
            " …" if len(names) > NAMED_MISSING else ""
        )
        remarks.append(f"not drawn, without this rate: {shown}")
    return remarks


def _point_name(row: Any, card: RunCard) -> str:
    label = card.systems[row.system].label
    variant = "" if row.variant in ("codes", "sample") else f" {row.variant}"
    point = "" if label.split()[-1:] == [row.point] else f" {row.point}"
    return f"{label}{point}{variant}"
