"""How figures look: one colour, marker and line per curve, the same in every figure of a run.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), without the yellow that
vanishes on white, and six darker ones of Tol's qualitative sets ("Colour Schemes", SRON 2021).
Markers and dashes carry the same information in grey. Fonts are embedded as TrueType, and come
with matplotlib, so that a figure looks the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Dash = str | tuple[float, tuple[float, ...]]

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
    "#882255", "#332288", "#117733", "#999933", "#AA4499",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
DASHES: tuple[Dash, ...] = (
    "-",
    (0, (6, 1.5)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1.2)),
    (0, (6, 1.2, 1, 1.2, 1, 1.2)),
)
MEAN_DASH: Dash = (0, (1, 1.4))
ANCHOR_DASHES: tuple[Dash, ...] = ((0, (8, 3)), (0, (5, 2, 1, 2)), (0, (2, 2)), (0, (12, 2, 2, 2)))
ANCHOR_COLOUR = "#6E6E6E"
CEILING_COLOUR = "#B0B0B0"

PAPER: Mapping[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7,
    "axes.titlelocation": "left",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "legend.columnspacing": 1.4,
    "legend.labelspacing": 0.35,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "savefig.dpi": 300,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    # Names are text: a dollar sign in one is a dollar sign.
    "text.usetex": False,
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class CurveStyle:
    """What tells one curve from another."""

    colour: str
    marker: str
    dash: Dash


def curve_styles(curves: Sequence[str]) -> dict[str, CurveStyle]:
    """A style per curve, by its place in `curves`.

    The three cycles have lengths without a common factor, so that hundreds of curves differ.
    """
    return {
        curve: CurveStyle(
            COLOURS[index % len(COLOURS)],
            MARKERS[index % len(MARKERS)],
            DASHES[index % len(DASHES)],
        )
        for index, curve in enumerate(dict.fromkeys(curves))
    }


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib's settings for a paper, for the time of a `with` block."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict(PAPER))
        yield
