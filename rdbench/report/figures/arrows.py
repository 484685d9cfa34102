"""Arrows from a rate that is computed to the rate of a stream that can be decoded.

A posterior's KL is a bound: `coded` is a stream of its latent (of several the one that figures
show), with a reconstruction
of its own. A nominal rate counts every codeword as equally likely: `entropy` is the stream under a
model of the tokens, which decodes to the same audio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdbench.report.cards import RunCard, records
from rdbench.report.figures.style import QUIET
from rdbench.store.variants import first_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from rdbench.report.figures.style import CurveStyle

SAME = ["system", "curve", "point", "domain", "key", "backend"]
ARROW_COLUMNS = [*SAME, "from_kind", "to_kind", "from_kbps", "to_kbps", "from_value", "to_value"]
NONE_FOUND = "no arrows: nothing has both rates of kl and coded, or of nominal and entropy"


def transitions(points: pd.DataFrame, card: RunCard) -> pd.DataFrame:
    """One row per arrow of `points` (of `rdbench.analysis.aggregate`), `ARROW_COLUMNS`.

    kbps at both ends, and the score at both; they differ where the stream has a reconstruction of
    its own.
    """
    import pandas as pd

    variants = card.variants
    headline = card.rate_distortion(points)
    headline = headline[np.isfinite(headline["kbps"]) & np.isfinite(headline["value"])]
    entropy = card.rate_distortion(points, rate="entropy")
    own = [name for name, variant in variants.items() if variant.headline]
    coded = first_stream(variants.values())
    found = []
    for kind, to, targets in (
        ("kl", "coded", headline[headline["variant"] == coded]),
        ("nominal", "entropy", entropy[entropy["variant"].isin(own)]),
    ):
        sources = headline[(headline["rate_kind"] == kind) & headline["variant"].isin(own)]
        ends = targets[[*SAME, "kbps", "value"]]
        both = sources[[*SAME, "kbps", "value"]].merge(ends, on=SAME, suffixes=("_1", "_2"))
        both = both[np.isfinite(both["kbps_2"]) & np.isfinite(both["value_2"])]
        names = {
            "kbps_1": "from_kbps", "kbps_2": "to_kbps", "value_1": "from_value",
            "value_2": "to_value",
        }  # fmt: skip
        found.append(both.rename(columns=names).assign(from_kind=kind, to_kind=to))
    result: pd.DataFrame = pd.concat(found, ignore_index=True)[ARROW_COLUMNS]
    return result


def draw_arrows(
    axes: Axes, arrows: pd.DataFrame, styles: Mapping[str, CurveStyle]
) -> dict[str, Line2D]:
    """Draws rows of `transitions` that belong to the panel; returns legend entries."""
    from matplotlib.lines import Line2D

    legend = {}
    for row in records(arrows):
        style = styles[row.curve]
        axes.annotate(
            "", (row.to_kbps, row.to_value), xytext=(row.from_kbps, row.from_value), zorder=5,
            arrowprops={
                "arrowstyle": "-|>,head_length=0.28,head_width=0.13", "color": style.colour,
                "linewidth": 0.7, "shrinkA": 2.2, "shrinkB": 2.2 if row.to_kind == "coded" else 0.5,
            },
        )  # fmt: skip
        entropy = row.to_kind == "entropy"
        if entropy:
            axes.plot(
                [row.to_kbps], [row.to_value], linestyle="none", marker="|", markersize=5,
                color=style.colour, markeredgewidth=0.9, zorder=5, gid="entropy",
            )  # fmt: skip
        legend[f"{row.from_kind} → {row.to_kind}"] = Line2D(
            [], [], color=QUIET, linewidth=0.7, marker="|" if entropy else ">",
            markersize=5 if entropy else 3,
        )  # fmt: skip
    return legend
