"""Scores as curves: over the channels that were kept, and over the rate of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.analysis.latent.decoded import PREDICTED, SAMPLE
from rdbench.analysis.latent.truncation import ALL, ORDERS
from rdbench.report.figures.style import COLOURS, DASHES, MARKERS, QUIET
from rdbench.report.latent.content import LatentContent
from rdbench.report.latent.pictures import legend_above, panels_for

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metric = tuple[str, str]
_LIGHT, _DARK = 0.12, 0.3
"""Opacity of the two bands."""
_ONE_RATE = 1.1
"""Rates within this factor are one: their latents then stand side by side, by name."""


def metrics_of(content: LatentContent, table: pd.DataFrame, domain: str) -> list[Metric]:
    """The metrics (key, backend) of a table that have a value in a domain."""
    return content.metrics(table[(table["domain"] == domain) & table["value"].notna()])


def draw_truncation(
    content: LatentContent, domain: str, metric: Metric, *, width: float
) -> Figure | None:
    """The score over the channels kept, a panel for each latent; None where there is none.

    Dashed: the full sample. A ring marks k*.
    """
    table = _chosen(content.truncation, domain, metric)
    latents = content.latents(table)
    if not latents:
        return None
    figure, panels = panels_for(len(latents), width=width, height=1.5)
    least = _chosen(content.least, domain, metric)
    for one, panel in zip(latents, panels, strict=True):
        _draw_kept(panel, content.of(table, one), content.of(least, one))
        panel.set_title(content.name(one))
    figure.supxlabel("channels kept", fontsize="medium")
    card = content.card.metrics[metric[0]]
    figure.supylabel(f"{card.title} {card.arrow}".strip(), fontsize="medium")
    legend_above(figure, panels, last="k*")
    return figure


def draw_generation(content: LatentContent, domain: str, *, width: float) -> Figure | None:
    """The two panels: samples over the rate, predictions over the rate; None without these.

    Latents of one rate, in which something else differs, stand side by side in the spec's order.
    A row for each metric, each panel with a scale of its own. Shaded: 95 % intervals over groups of
    clips; darker: the range of the generator's seeds.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    metrics = metrics_of(content, content.generation, domain)
    if not metrics:
        return None
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, 0.5 + 1.55 * len(metrics))
    panels = figure.subplots(len(metrics), 2, squeeze=False, sharex=True)
    titles = {SAMPLE: "reconstruction: D(sample)", PREDICTED: "generation: D(predicted)"}
    rates = content.generation.loc[content.generation["domain"] == domain, "kbps"]
    one_rate = bool(rates.max() < _ONE_RATE * rates.min())
    draw = _draw_side_by_side if one_rate else _draw_sweeps
    for row, metric in zip(panels, metrics, strict=True):
        table = _chosen(content.generation, domain, metric)
        for panel, what in zip(row, titles, strict=True):
            draw(panel, content, table[table["decoded"] == what])
        card = content.card.metrics[metric[0]]
        row[0].set_ylabel(f"{card.title} {card.arrow}".strip())
    for panel, title in zip(panels[0], titles.values(), strict=True):
        panel.set_title(title)
    for panel in panels[-1]:
        panel.set_xlabel(
            "latent, and its kbps (KL to N(0, I))" if one_rate else "kbps (KL to N(0, I))"
        )
    if not one_rate and len(dict.fromkeys(content.generation["curve"])) > 1:
        panels[0][0].legend()
    keys = [
        Patch(color=QUIET, alpha=_LIGHT, label="95 % interval over groups of clips"),
        Patch(color=QUIET, alpha=_DARK + _LIGHT, label="range of the generator's seeds"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=2)
    return figure


def _draw_kept(panel: Axes, rows: pd.DataFrame, least: pd.DataFrame) -> None:
    whole = rows[rows["order"] == ALL]
    for number, order in enumerate(ORDERS.values()):
        part = rows[(rows["order"] == order) & rows["value"].notna()].sort_values("channels")
        if part.empty:
            continue
        colour = COLOURS[number]
        panel.plot(
            part["channels"], part["value"], color=colour, marker=MARKERS[number],
            linestyle=DASHES[number], label=f"by {order}" if order != "random" else "at random",
        )  # fmt: skip
        panel.fill_between(
            part["channels"], part["low"], part["high"], color=colour, alpha=0.15, linewidth=0
        )
        enough = least.loc[least["order"] == order, "least"]
        at = part[part["channels"].isin(enough)]
        if len(at):  # nothing that is not clipped has a size
            panel.plot(
                at["channels"], at["value"], linestyle="", marker="o", markersize=8,
                markerfacecolor="none", markeredgecolor=colour, label="k*", clip_on=False,
            )  # fmt: skip
    if len(whole):
        value = float(whole["value"].iloc[0])
        panel.axhline(value, color=QUIET, linestyle="--", linewidth=0.8, label="all (sample)")


def _draw_sweeps(panel: Axes, content: LatentContent, table: pd.DataFrame) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    for number, (curve, rows) in enumerate(table.groupby("curve", sort=False)):
        part = rows.sort_values("kbps")
        colour = COLOURS[number % len(COLOURS)]
        panel.fill_between(
            part["kbps"], part["low"], part["high"], color=colour, alpha=_LIGHT, linewidth=0
        )
        panel.fill_between(
            part["kbps"], part["least"], part["most"], color=colour, alpha=_DARK, linewidth=0
        )
        if len(part) == 1:  # a band of no width
            _draw_bars(panel, list(part["kbps"]), part, colour)
        panel.plot(
            part["kbps"], part["value"], color=colour, marker=MARKERS[number % len(MARKERS)],
            label=content.card.curve_label(str(curve)),
        )  # fmt: skip
    panel.set_xscale("log")
    ticks = sorted(table["kbps"])
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _draw_side_by_side(panel: Axes, content: LatentContent, table: pd.DataFrame) -> None:
    latents = content.latents(table)
    names = []
    for place, one in enumerate(latents):
        row, colour = content.of(table, one), COLOURS[place % len(COLOURS)]
        _draw_bars(panel, [place], row, colour)
        panel.plot(
            [place], row["value"], color=colour, marker=MARKERS[place % len(MARKERS)], linestyle=""
        )
        names.append(f"{content.name(one)}\n{float(row['kbps'].iloc[0]):.3g}")
    panel.set_xlim(-0.5, len(latents) - 0.5)
    panel.set_xticks(range(len(latents)), names)


def _draw_bars(panel: Axes, places: Sequence[float], rows: pd.DataFrame, colour: str) -> None:
    """What bands show, of points that stand alone."""
    for low, high, alpha in (("low", "high", 2 * _LIGHT), ("least", "most", _DARK + _LIGHT)):
        panel.vlines(places, rows[low], rows[high], color=colour, alpha=alpha, linewidth=7)


def _chosen(table: pd.DataFrame, domain: str, metric: Metric) -> pd.DataFrame:
    key, backend = metric
    here = (table["domain"] == domain) & (table["key"] == key) & (table["backend"] == backend)
    return table[here]
