"""Statistics of latents as figures: KL by channel and place, norms by place, spectra."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from rdbench.latent.places import PLACES
from rdbench.latent.statistics import slope
from rdbench.report.figures.style import COLOURS, DASHES, QUIET
from rdbench.report.latent.content import LatentContent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLUMNS = 5
"""Panels in a row."""


def panels_for(count: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each latent, axes shared; what is left of the last row is blank.

    width: of a full row, height: of a panel, in inches.
    """
    from matplotlib.figure import Figure

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(layout="constrained")
    figure.set_size_inches(max(2.2, width * columns / COLUMNS), 0.45 + height * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    panels = list(grid.ravel())
    for panel in panels[count:]:
        panel.set_axis_off()
    return figure, panels[:count]


def legend_above(figure: Figure, panels: Iterable[Axes], *, last: str = "") -> None:
    """One legend for all panels, each label once; last: the label that comes at the end."""
    handles = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    names = sorted(handles, key=lambda name: name == last)
    columns = max(2, int(1.25 * figure.get_figwidth()))  # of some 0.8 inches
    figure.legend(
        [handles[name] for name in names], names, loc="outside upper center", ncols=columns
    )


def plain_logarithm(axis: Axis, low: float, high: float, *, base: float = 10.0) -> None:
    """Ticks of a logarithmic axis as plain numbers, as many as have room."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    powers = np.arange(np.floor(np.log(low) / np.log(base)), np.log(high) / np.log(base) + 1)
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        every = [float(step * base**power) for power in powers for step in steps]
        ticks = sorted({tick for tick in every if low <= tick <= high})
        if len(ticks) >= 3 or base == 2.0:
            break
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def draw_heat(content: LatentContent, domain: str, *, width: float) -> Figure | None:
    """KL of each channel at each place, in nats per frame; None without statistics or KL."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    table = content.channels[content.channels["domain"] == domain]
    table = table[table["place"].isin(PLACES) & table["kl"].notna()]
    latents = content.latents(table)
    if not latents:
        return None
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, max(1.6, 0.55 + 0.52 * len(latents)))
    norm = PowerNorm(0.5, 0.0, max(float(table["kl"].max()), 1e-3))  # a few channels have most
    axes = figure.subplots(len(latents), 1, squeeze=False)[:, 0]
    image = None
    for one, panel in zip(latents, axes, strict=True):
        cells = content.of(table, one).pivot_table(index="place", columns="channel", values="kl")
        cells = cells.reindex(PLACES)
        image = panel.imshow(
            cells.to_numpy(float), aspect="auto", cmap="viridis", norm=norm, interpolation="none"
        )
        panel.set_yticks(range(len(PLACES)), PLACES)
        panel.set_ylabel(content.name(one), rotation=0, ha="right", va="center")
        panel.grid(visible=False)
    axes[-1].set_xlabel("channel")
    assert image is not None
    bar = figure.colorbar(image, ax=list(axes), pad=0.01)
    bar.set_label("KL (nats per frame)")
    return figure


def draw_norms(content: LatentContent, domain: str, *, width: float) -> Figure | None:
    """Histograms of ‖z‖²/D by place, a panel for each latent; None without statistics."""
    table = content.norms[content.norms["domain"] == domain]
    latents = content.latents(table)
    if not latents:
        return None
    figure, panels = panels_for(len(latents), width=width, height=1.35)
    seen = table[table["frames"] > 0]
    for one, panel in zip(latents, panels, strict=True):
        part = content.of(table, one)
        for colour, dash, place in zip(COLOURS, DASHES, PLACES, strict=False):
            here = part[part["place"] == place]
            share = here["frames"].to_numpy(float)
            if share.sum() > 0:
                edges = np.append(here["norm_low"], here["norm_high"].iloc[-1])
                shown = share / share.sum() / np.diff(np.log2(edges))
                panel.stairs(shown, edges, color=colour, linestyle=dash, label=place)
        panel.axvline(1.0, color=QUIET, linewidth=0.6, linestyle=":")
        panel.set_xscale("log", base=2)
        panel.set_xlim(seen["norm_low"].min(), seen["norm_high"].max())
        plain_logarithm(panel.xaxis, seen["norm_low"].min(), seen["norm_high"].max(), base=2.0)
        panel.set_title(content.name(one))
        panel.set_yticks([])
    figure.supxlabel("‖z‖²/D of a frame (1: as N(0, I))", fontsize="medium")
    figure.supylabel("frames, by share", fontsize="medium")
    legend_above(figure, panels)
    return figure


def draw_spectra(content: LatentContent, domain: str, *, width: float) -> Figure | None:
    """Power of μ along time and along channels, with slopes; None without statistics."""
    from matplotlib.figure import Figure

    table = content.spectra[content.spectra["domain"] == domain]
    latents = content.latents(table)
    if not latents or not np.isfinite(table["power"]).any():
        return None
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, 2.3)
    titles = {"time": "cycles per frame", "channels": "cycles per channel"}
    panels = figure.subplots(1, 2)
    for panel, (along, title) in zip(panels, titles.items(), strict=True):
        for number, one in enumerate(latents):
            part = content.of(table, one)
            part = part[(part["along"] == along) & (part["frequency"] > 0)]
            power = part["power"].to_numpy(float)
            if not (np.isfinite(power).all() and power.size and (power > 0).all()):
                continue
            steep = slope(np.concatenate([[1.0], power]))
            said = f" ({steep:+.2f})".replace("-", "−") if np.isfinite(steep) else ""
            panel.plot(
                part["frequency"], power / power.mean(), color=COLOURS[number % len(COLOURS)],
                linestyle=DASHES[number % len(DASHES)], label=content.name(one) + said,
            )  # fmt: skip
        panel.set_xscale("log")
        panel.set_yscale("log")
        plain_logarithm(panel.xaxis, *panel.get_xlim())
        low, high = panel.get_ylim()
        panel.set_ylim(min(low, 0.4), max(high, 2.5))  # what is nearly white looks flat
        plain_logarithm(panel.yaxis, *panel.get_ylim())
        panel.set_xlabel(title)
        panel.legend(title="slope")
    panels[0].set_ylabel("power of μ over its mean")
    return figure
