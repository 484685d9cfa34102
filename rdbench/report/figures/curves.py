"""One rate–quality panel: the curves of one domain and metric on given axes.

Only measured points are drawn and joined, in order of measured rate. What is not a rate point
(the mean of a posterior at the price of its KL) is dotted and hollow and says so in the legend;
points at a stated rate, which nobody measured, are hollow, and always named so.
Intervals are bands; a point that stands alone has bars.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.report.cards import MetricCard, RunCard, ordered, records
from rdbench.report.figures.arrows import draw_arrows
from rdbench.report.figures.levels import draw_levels, find_levels
from rdbench.report.figures.panel import Panel
from rdbench.report.figures.style import MEAN_DASH, CurveStyle, Look
from rdbench.report.names import clean, listed
from rdbench.types import RateKind

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# An interval on the rate axis that is narrower than the marker says nothing.
RATE_INTERVAL_WORTH = 0.12
BAND = 0.16  # opacity: two that overlap are still told apart
# At the least, a rate axis spans this factor.
NARROW_SPAN = 14.0  # ratio of rates under which the axis has more labels
LEAST_SPAN = 4.0
QUALITY_WIDTH = 38
NAMED_MISSING = 3
LONGEST_NAME = 30


@dataclass(frozen=True)
class Series:
    """A drawn curve: its rows, colour and family."""

    rows: pd.DataFrame
    colour: str
    family: str


@dataclass
class Drawn:
    """What a panel holds: legend entries by label, kinds of rate, remarks for its heading.

    series: by the same labels as `legend`. levels: legend entries of anchors and ceiling. edge:
    their names at their heights.
    """

    legend: dict[str, Line2D] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    levels: dict[str, Line2D] = field(default_factory=dict)
    edge: list[tuple[float, str]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)

    def add(self, other: Drawn) -> None:
        """Joins the entries of another panel."""
        self.legend |= {k: v for k, v in other.legend.items() if k not in self.legend}
        self.series |= {k: v for k, v in other.series.items() if k not in self.series}
        self.levels |= {k: v for k, v in other.levels.items() if k not in self.levels}
        self.kinds = ordered([*self.kinds, *other.kinds], ())
        self.beyond += other.beyond


def draw_panel(axes: Axes, panel: Panel, look: Look, kinds: Sequence[str]) -> Drawn:
    """Draws the curves, levels and arrows of `panel`.

    kinds: the rate kinds on the figure's axis; curves name theirs where there are several.
    """
    data, metric, card, styles = panel.data, panel.metric, look.card, look.styles
    scored = data[np.isfinite(data["value"])]
    curves = scored[~scored["anchor"] & np.isfinite(scored["kbps"])]
    drawn = Drawn(kinds=ordered(list(curves["rate_kind"]), kinds))
    names = curve_names(card)
    for curve in ordered(list(curves["curve"]), card.curves):
        part = curves[curves["curve"] == curve]
        for variant in ordered(list(part["variant"]), list(card.variants)):
            line = part[part["variant"] == variant].sort_values("kbps", kind="stable")
            own_rate = bool(card.variant(variant).rate)
            label = curve_label(
                names[curve], variant, line, several=len(kinds) > 1, own_rate=own_rate
            )
            drawn.legend[label] = draw_curve(axes, line, styles[curve], x="kbps", own_rate=own_rate)
            drawn.series[label] = Series(line, styles[curve].colour, card.curve_family(curve))
    ends = curves[["kbps", "kbps_low", "kbps_high"]].to_numpy(float).ravel()
    rate_axis(axes, np.array([*ends, *panel.arrows.get("to_kbps", ())], dtype=float))
    levels = draw_levels(axes, curves, find_levels(scored[scored["anchor"]], card), metric)
    drawn.levels, drawn.edge = levels.legend, levels.edge
    drawn.beyond = [f"{metric.name}: {text}" for text in levels.beyond]
    if len(panel.arrows):
        drawn.legend |= draw_arrows(axes, panel.arrows, styles)
    axes.set_ylabel("\n".join(textwrap.wrap(quality_label(metric), QUALITY_WIDTH)))
    drawn.remarks = _remarks(panel, card)
    return drawn


def quality_label(metric: MetricCard) -> str:
    """The label of the quality axis, with the way that is better."""
    way = f" {metric.arrow}\N{NO-BREAK SPACE}better" if metric.arrow else ""
    return metric.title + way


def rate_label(kinds: Sequence[str], *, letters: int = 60) -> str:
    """The label of the rate axis; never without the kind of bits. Broken beyond `letters`."""
    if not kinds:
        return "bitrate (kbps, log)"
    named = " / ".join(kinds)
    one_line = f"bitrate (kbps, log), {named}"
    return one_line if len(one_line) <= letters else f"bitrate (kbps, log)\n{named}"


def curve_names(card: RunCard) -> dict[str, str]:
    """What figures call each curve: its label, not too long, and unlike that of the others."""
    names: dict[str, str] = {}
    for curve in card.curves:
        name, count = clean(card.curve_label(curve), longest=LONGEST_NAME), 2
        while name in names.values():
            name = f"{clean(card.curve_label(curve), longest=LONGEST_NAME - 4)} #{count}"
            count += 1
        names[curve] = name
    return names


def curve_label(
    name: str, variant: str, line: pd.DataFrame, *, several: bool, own_rate: bool
) -> str:
    """What a legend calls a curve.

    several: its figure shows more than one kind of rate. own_rate: the variant has one of its own,
    whose kind does not say which stream it is.
    """
    if not line["rate_point"].any():
        return f"{name}, {variant} (not a rate point)"
    kinds = variant if own_rate else ", ".join(dict.fromkeys(line["rate_kind"]))
    stated = RateKind.STATED in set(line["rate_kind"])
    return f"{name} ({kinds})" if several or stated else name


def draw_curve(
    axes: Axes, line: pd.DataFrame, style: CurveStyle, *, x: str, own_rate: bool
) -> Line2D:
    """Draws rows of one curve and variant over their column `x`, with intervals.

    own_rate: whether the variant has a rate of its own (a coded stream). Returns its legend entry.
    """
    from matplotlib.lines import Line2D

    width = _linewidth()
    hollow = not line["rate_point"].any()
    stated = RateKind.STATED in set(line["rate_kind"])
    look: dict[str, Any] = {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": MEAN_DASH if hollow else style.dash,
        "linewidth": 0.75 * width if hollow else width,
        "markeredgecolor": style.colour,
        "markerfacecolor": "white" if hollow or stated else style.colour,
        "markeredgewidth": 0.8,
    }
    if own_rate:
        look |= {"fillstyle": "left", "markerfacecoloralt": "white", "linewidth": 0.75 * width}
    # Signs that XML has no place for would spoil an SVG file.
    gid = "/".join(clean(str(line[name].iloc[0])) for name in ("curve", "variant"))
    at, y = line[x].to_numpy(float), line["value"].to_numpy(float)
    axes.plot(at, y, **look, zorder=3 if hollow else 4, gid=gid)
    _draw_intervals(axes, line, style.colour, x=x, faint=hollow)
    single = len(line) == 1
    return Line2D([], [], **(look | {"linestyle": "none"} if single else look))


def rate_axis(axes: Axes, rates: np.ndarray) -> None:
    """A logarithmic axis of rates in kbps with plain numbers."""
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


def _linewidth() -> float:
    import matplotlib

    return float(matplotlib.rcParams["lines.linewidth"])


def _draw_intervals(axes: Axes, line: pd.DataFrame, colour: str, *, x: str, faint: bool) -> None:
    bars: dict[str, Any] = {
        "fmt": "none",
        "ecolor": colour,
        "elinewidth": 0.7,
        "capsize": 1.6,
        "capthick": 0.6,
    }
    at, y = line[x].to_numpy(float), line["value"].to_numpy(float)
    low, high = line["low"].to_numpy(float), line["high"].to_numpy(float)
    known = np.isfinite(low) & np.isfinite(high)
    # A band over a quantity that goes to and fro along the curve would fold over itself.
    if known.sum() > 1 and (np.diff(at[known]) > 0).all():
        axes.fill_between(
            at[known], low[known], high[known], color=colour, linewidth=0,
            alpha=BAND / 2 if faint else BAND, zorder=2, gid="band",
        )  # fmt: skip
    elif known.any():
        # BCa intervals of tiny samples may leave the estimate outside: no negative bars.
        heights = np.maximum(np.stack([y - low, high - y])[:, known], 0)
        axes.errorbar(at[known], y[known], yerr=heights, zorder=2, **bars)
    if x != "kbps":
        return
    left, right = line["kbps_low"].to_numpy(float), line["kbps_high"].to_numpy(float)
    wide = (right - left) / at > RATE_INTERVAL_WORTH
    if wide.any():
        widths = np.maximum(np.stack([at - left, right - at])[:, wide], 0)
        axes.errorbar(at[wide], y[wide], xerr=widths, zorder=2, **bars)


def _remarks(panel: Panel, card: RunCard) -> list[str]:
    """Which points rest on fewer clips than they were given, and which have no rate."""
    remarks, data = [], panel.data
    short = data[data["n_ok"] < data["n_total"]]
    if len(short):
        named = [f"{_point_name(row, card)}: {panel.metric.count(row.n_ok, row.n_total)}"
                 for row in records(short.head(NAMED_MISSING))]  # fmt: skip
        more = len(short) - len(named)
        text = ", ".join(named) + (f" and {more} more (see table.md)" if more else "")
        remarks.append(f"clips scored: {text}; else all")
    lost = data[~data["anchor"] & ~np.isfinite(data["kbps"]) & np.isfinite(data["value"])]
    if len(lost):
        names = listed((_point_name(row, card) for row in records(lost)), NAMED_MISSING)
        remarks.append(f"not drawn, without this rate: {names}")
    return remarks


def _point_name(row: Any, card: RunCard) -> str:
    label = card.systems[row.system].label
    variant = "" if card.variant(row.variant).headline else f" {row.variant}"
    point = "" if label.split()[-1:] == [row.point] else f" {row.point}"
    return f"{label}{point}{variant}"
