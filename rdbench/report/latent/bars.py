"""The prior ladder as stacked bars: what falls away under each prior, and what must be stored."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from rdbench.report.figures.style import COLOURS
from rdbench.report.latent.content import LatentContent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = {
    "flow-matching probe": "learnt by the probe",
    "AR(4) Gaussian": "learnt by a linear predictor",
    "full-covariance Gaussian": "learnt by a full covariance",
    "Gaussian prior": "learnt by a fitted diagonal",
}
"""What falls away on the step to a rung, from the last rung up."""
STORED, STORED_COLOUR = "to be stored under the last prior", "#C9CED6"


def draw_ladder(content: LatentContent, domain: str, *, width: float) -> Figure | None:
    """Left the rates in kbps, right what falls away in percent; None without a second prior.

    A rung above the one before (a fit on other clips may cost a little) takes nothing away.
    """
    from matplotlib.figure import Figure

    table = content.ladder[content.ladder["domain"] == domain]
    if table["rung"].nunique() < 2:
        return None
    latents = content.latents(table)
    names = [content.name(one) for one in latents]
    rungs = ["N(0, I)", *(rung for rung in reversed(PARTS) if (table["rung"] == rung).any())]
    rates = [
        content.of(table, one).set_index("rung")["kbps"].cummin().reindex(rungs).ffill()
        for one in latents
    ]
    whole = np.array([rate["N(0, I)"] for rate in rates])
    parts: dict[str, np.ndarray] = {}
    left = np.array([rate.min() for rate in rates])
    for above, rung in pairwise(rungs):
        parts[rung] = np.array([rate[above] - rate[rung] for rate in rates])
    figure = Figure(layout="constrained")
    crowded = len(names) * max(map(len, names)) > 36
    figure.set_size_inches(width, 2.0 + 0.16 * crowded)
    kbps, percent = (figure.add_subplot(1, 2, i + 1) for i in range(2))
    kbps.bar(names, left, color=STORED_COLOUR, label=STORED, width=0.7)
    _stack(kbps, names, parts, left)
    kbps.set_ylabel("kbps")
    share = {rung: 100 * part / whole for rung, part in parts.items()}
    _stack(percent, names, share, np.zeros(len(names)))
    percent.set_ylabel("learnt, % of the rate to N(0, I)")
    for axes in (kbps, percent):
        axes.grid(visible=False, axis="x")
        axes.tick_params(axis="x", rotation=30 if crowded else 0)
    handles, labels = kbps.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _stack(axes: Axes, names: list[str], parts: dict[str, np.ndarray], bottom: np.ndarray) -> None:
    for colour, (rung, text) in zip(COLOURS, PARTS.items(), strict=False):
        if rung in parts:
            axes.bar(names, parts[rung], bottom=bottom, color=colour, label=text, width=0.7)
            bottom = bottom + parts[rung]
