"""Rate, quality and cost side by side: one metric over the rate, over the time that coding takes,
and over the number of parameters. The panels share the quality axis, so that a point is found
again at the same height.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.report.aggregates import machine_costs
from rdbench.report.cards import RunCard
from rdbench.report.figures.curves import draw_curve, draw_panel, rate_label
from rdbench.report.figures.legend import draw_legend, plan_legend
from rdbench.report.figures.panel import Panel, kinds_of, panel_numbers
from rdbench.report.figures.style import QUIET, Look
from rdbench.report.names import clean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TIME, SIZE = "real_time_factor", "parameters"
TITLES = {
    TIME: "coding time / audio time (log)\n← faster; encoding and decoding",
    SIZE: "parameters (log)\n← smaller",
}
OWNER = ["system", "curve", "point"]


def draw_complexity(
    panel: Panel, points: pd.DataFrame, look: Look
) -> tuple[Figure, pd.DataFrame] | None:
    """The figure and its numbers for one domain and metric; None where no cost is known."""
    from matplotlib.figure import Figure

    data = with_costs(panel.data, points, look.card)
    drawn_rows = data[~data["anchor"] & np.isfinite(data["value"]) & data["rate_point"]]
    axes_of = [key for key in (TIME, SIZE) if np.isfinite(drawn_rows[key]).any()]
    if not axes_of:
        return None
    columns = 1 + len(axes_of)
    width = look.config.inches.two
    shown = replace(panel, data=data, arrows=panel.arrows.iloc[:0])
    kinds = kinds_of([shown])
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, width / 2)
    first: Axes = figure.add_subplot(1, columns, 1)
    drawn = draw_panel(first, shown, look, kinds)
    first.set_xlabel(rate_label(kinds, letters=0))
    for index, key in enumerate(axes_of):
        axes = figure.add_subplot(1, columns, index + 2, sharey=first)
        axes.tick_params(labelleft=False)
        axes.set_xscale("log")
        for series in drawn.series.values():
            line = series.rows[np.isfinite(series.rows[key]) & series.rows["rate_point"]]
            if len(line):
                variant = look.card.variant(str(line["variant"].iloc[0]))
                style = look.styles[str(line["curve"].iloc[0])]
                # Joined in order of rate, which a reader follows from panel to panel.
                draw_curve(axes, line, style, x=key, own_rate=bool(variant.rate))
        axes.set_xlabel(TITLES[key])
        _plain_log(axes)
        if key == TIME:
            axes.axvline(1.0, color=QUIET, linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)
    families = look.config.legend == "family"
    plan = plan_legend(drawn, inches=width, families=families)
    figure.set_size_inches(width, 0.36 * width + 0.15 * plan.rows * look.scale)
    if look.config.heading:
        text = look.card.domain_label(panel.domain)
        first.set_title(text)
        _, machine, _ = machine_costs(points, look.card.machine)
        said = [f"times on {clean(machine)}"] if machine and TIME in axes_of else []
        said += _without(drawn_rows, axes_of, look.card)
        if said:
            figure.suptitle("; ".join(said), fontsize=look.points(6.0), color=QUIET)
    draw_legend(figure, plan)
    return figure, panel_numbers(shown, look.card, more=(TIME, SIZE))


def with_costs(data: pd.DataFrame, points: pd.DataFrame, card: RunCard) -> pd.DataFrame:
    """`data` with the columns `real_time_factor` (encoding plus decoding) and `parameters`.

    Costs belong to a point, a variant and a machine; a variant without its own (the mean) has
    those of its point's headline, and NaN stands where nothing was measured. The manifest's count
    of parameters stands in where the costs have none.
    """
    costs, _, _ = machine_costs(points, card.machine)
    costs = costs[np.isfinite(costs["value"])]
    where = [*OWNER, "variant"]
    table = costs.pivot_table(index=where, columns="key", values="value", aggfunc="mean")
    table = table.reindex(columns=["encode_rtf", "decode_rtf", SIZE])
    table[TIME] = table["encode_rtf"] + table["decode_rtf"]
    streams = [name for name, variant in card.variants.items() if variant.rate]
    lenders = table[[TIME, SIZE]].reset_index()
    lenders = lenders[~lenders["variant"].isin(streams)].drop_duplicates(OWNER)
    joined = data.merge(table[[TIME, SIZE]].reset_index(), on=where, how="left")
    lent = data[OWNER].merge(lenders, on=OWNER, how="left").set_index(joined.index)
    borrows = ~joined["variant"].isin(streams)
    for key in (TIME, SIZE):
        joined[key] = joined[key].fillna(lent[key].where(borrows))
    known: Any = joined["system"].map({name: s.parameters for name, s in card.systems.items()})
    joined[SIZE] = joined[SIZE].fillna(known.astype(float))
    return joined


def _without(rows: pd.DataFrame, keys: list[str], card: RunCard) -> list[str]:
    parts = []
    for key in keys:
        known = set(rows.loc[np.isfinite(rows[key]), "curve"])
        lacking = [card.curve_label(c) for c in dict.fromkeys(rows["curve"]) if c not in known]
        if lacking:
            parts.append(f"no {key.replace('_', ' ')}: {', '.join(lacking)}")
    return parts


def _plain_log(axes: Axes) -> None:
    """Powers of ten with as many numbers between them as make at least three."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    low, high = axes.get_xlim()
    if high / low < 4:
        middle = float(np.sqrt(low * high))
        low, high = middle / 2.2, middle * 2.2
        axes.set_xlim(low, high)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks: list[float] = []
    for within in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        every = [one * 10.0**decade for decade in decades for one in within]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 3:
            break
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _count(value: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g} {letter}"
    return f"{value:g}"
