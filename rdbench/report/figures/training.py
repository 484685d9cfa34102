"""How a training went: its loss terms, its rate beside the target, gradients and drift, by step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.report.config import ReportConfig
from rdbench.report.figures.style import QUIET, curve_styles, figure_style
from rdbench.report.figures.write import figure_files
from rdbench.report.names import clean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEM = "log"
_PANEL = (3.3, 2.1)  # inches
_ACROSS = 2
_RATE, _TARGET = "rate/kbps", "rate/target_kbps"
_GROUPS = {
    "loss": "Loss terms, weighted",
    "rate": "Rate (KL, kbps)",
    "gradient": "Gradient norm at the encoder",
    "drift": "Drift of the latent (relative)",
}
_LOGARITHMIC = ("loss", "gradient")


def write_training(table: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Draws a log into `folder` as PDF and PNG; returns the files.

    table: columns step, name (`group/quantity`) and value. name: of the run, above the figure.
    """
    config = ReportConfig(formats=("pdf", "png"), data=False)
    with figure_style():
        return figure_files(draw_training(table, name), folder / STEM, [], config, within=folder)


def draw_training(table: pd.DataFrame, name: str) -> Figure:
    """The figure: a panel for each group of quantities that was logged. See `write_training`."""
    from matplotlib.figure import Figure

    by_group = table.assign(group=table["name"].str.partition("/")[0])
    groups = [group for group in _GROUPS if (by_group["group"] == group).any()]
    across = min(_ACROSS, max(1, len(groups)))
    down = max(1, math.ceil(len(groups) / across))
    figure = Figure(figsize=(_PANEL[0] * across, _PANEL[1] * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False, sharex=True).flat)
    for axis, group in zip(axes, groups, strict=False):
        rows = by_group[by_group["group"] == group]
        if group == "rate":
            _draw_rate(axis, rows)
        else:
            _draw_group(axis, rows, logarithmic=group in _LOGARITHMIC)
        axis.set_title(_GROUPS[group])
        axis.tick_params(labelbottom=True)
    for axis in axes[len(groups) :]:
        axis.set_axis_off()
    figure.suptitle(clean(name), fontsize=7)
    figure.supxlabel("Training step", fontsize=7)
    return figure


def _draw_group(axis: Axes, rows: pd.DataFrame, *, logarithmic: bool) -> None:
    names = list(dict.fromkeys(rows["name"]))
    styles = curve_styles(names)
    for name in names:
        part, style = rows[rows["name"] == name], styles[name]
        axis.plot(
            part["step"], part["value"], color=style.colour, linestyle=style.dash,
            label=clean(name.partition("/")[2]),
        )  # fmt: skip
    if logarithmic and (rows["value"] > 0).any():
        axis.set_yscale("log", nonpositive="mask")
        axis.yaxis.set_major_formatter("{x:g}")  # powers would be formulas, which names must not be
    if len(names) > 1:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, handlelength=2.2)


def _draw_rate(axis: Axes, rows: pd.DataFrame) -> None:
    """Measured beside its target; multipliers and nats say no more, and are left out."""
    measured, target = (rows[rows["name"] == name] for name in (_RATE, _TARGET))
    style = curve_styles([_RATE])[_RATE]
    axis.plot(measured["step"], measured["value"], color=style.colour, label="measured")
    if len(target):
        axis.plot(target["step"], target["value"], color=QUIET, linestyle="--", label="target")
        axis.legend()
    axis.set_ylim(bottom=0)
