"""How figures look: one colour, marker and line per curve, the same in every figure of a run.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), without the yellow that
vanishes on white, and six darker ones of Tol's qualitative sets ("Colour Schemes", SRON 2021).
Markers and dashes carry the same information in grey. Fonts come with matplotlib: embedded as
TrueType in PDF, as outlines in a paper's SVG, so that a figure looks the same on every machine; for
the screen, SVG keeps text as text.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.report.cards import RunCard
    from rdbench.report.config import ReportConfig

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
QUIET = "#4A4A4A"
ANCHOR_DASHES: tuple[Dash, ...] = ((0, (8, 3)), (0, (5, 2, 1, 2)), (0, (2, 2)), (0, (12, 2, 2, 2)))
ANCHOR_COLOUR = "#6E6E6E"
CEILING_COLOUR = "#B0B0B0"

NAMED_DASHES: Mapping[str, Dash] = {
    "solid": "-", "dashed": (0, (6, 1.5)), "dashdot": (0, (6, 1.5, 1, 1.5)),
    "dotted": (0, (1, 1.4)),
}  # fmt: skip
FONTS = {"sans": "DejaVu Sans", "serif": "STIXGeneral"}

PAPER: Mapping[Any, Any] = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 6.8,
    "axes.titlelocation": "left",
    "axes.titlepad": 3.5,
    "axes.labelpad": 2.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "legend.fontsize": 6.3,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "legend.columnspacing": 1.1,
    "legend.labelspacing": 0.35,
    "legend.borderaxespad": 0.3,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E9E9E9",
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    # TrueType outlines in PDF. In SVG a glyph is a path: the figure looks the same everywhere.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "rdbench",
    "savefig.dpi": 300,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.02,
    # Names are text: a dollar sign in one is a dollar sign.
    "text.usetex": False,
    "text.parse_math": False,
    "axes.unicode_minus": True,
}
# On a page, text in SVG is text, which can be searched and read aloud.
SCREEN: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "savefig.dpi": 144,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.0,
    "axes.linewidth": 0.9,
    "grid.linewidth": 0.7,
}
SCREEN_TYPE = 1.55  # times the size of type in a paper


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


def colours(names: Sequence[str]) -> dict[str, str]:
    """The colour ("#RRGGBB") of each curve, by its place in `names`: that of every figure.

    Give it all curves of a run in the spec's order (`RunCard.curves`), whichever are shown, so that
    a curve keeps its colour where others are hidden. See `system_colours` for systems.
    """
    return {name: style.colour for name, style in curve_styles(names).items()}


def system_colours(card: RunCard) -> dict[str, str]:
    """The colour ("#RRGGBB") of each system of a run: that of its curve, grey for an anchor."""
    found = card_styles(card)
    return {
        name: found[system.curve].colour if system.has_curve else ANCHOR_COLOUR
        for name, system in card.systems.items()
    }


def card_styles(card: RunCard) -> dict[str, CurveStyle]:
    """The style of each curve of a run, with what the report's configuration asks for.

    A colour that is asked for is that curve's alone: another that would have it by its place gets
    the first that no curve has.
    """
    styles = curve_styles([*card.palette, *card.curves])
    asked: dict[str, dict[str, Any]] = {}
    for system in card.systems.values():
        if system.has_curve:
            look: dict[str, Any] = {key: value for key, value in system.look.items() if value}
            if "dash" in look:
                look["dash"] = NAMED_DASHES[look["dash"]]
            asked.setdefault(system.curve, {}).update(look)
    given = {look["colour"].upper() for look in asked.values() if "colour" in look}
    own = {curve: style.colour for curve, style in styles.items()
           if "colour" not in asked.get(curve, {})}  # fmt: skip
    free = [colour for colour in COLOURS if colour not in given | set(own.values())]
    for curve, colour in own.items():
        if colour.upper() in given and free:
            styles[curve] = replace(styles[curve], colour=free.pop(0))
    for curve, look in asked.items():
        styles[curve] = replace(styles[curve], **look)
    return styles


@dataclass(frozen=True)
class Look:
    """How all figures of a run look."""

    card: RunCard
    styles: Mapping[str, CurveStyle]
    config: ReportConfig

    @property
    def scale(self) -> float:
        """Of type and heights: 1 in a paper."""
        return SCREEN_TYPE if self.config.style == "screen" else 1.0

    def points(self, size: float) -> float:
        """A size of type, given in points for a paper."""
        return size * self.scale


@contextmanager
def figure_style(style: str = "paper", font: str = "sans") -> Iterator[None]:
    """Matplotlib's settings for a report, for the time of a `with` block.

    style: "paper" or "screen". font: "sans", "serif" or a font's name; raises SpecError for one
    that is not installed.
    """
    import matplotlib

    settings = dict(PAPER)
    if style == "screen":
        sized = {k: v * SCREEN_TYPE for k, v in PAPER.items() if k.endswith("size") and "." in k}
        settings |= sized | dict(SCREEN)
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A label may hold signs that the font lacks; a box is drawn for them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        matplotlib.rcParams.update(_font(font))
        yield


def _font(name: str) -> dict[Any, Any]:
    from matplotlib import font_manager

    chosen = FONTS.get(name, name)
    try:
        font_manager.findfont(chosen, fallback_to_default=False)
    except ValueError:
        raise SpecError(
            f"the font {name!r} is not installed; use sans, serif or the name of one that is"
        ) from None
    # The default behind it has the arrows and signs that many fonts lack.
    return {"font.family": [chosen] if chosen == "DejaVu Sans" else [chosen, "DejaVu Sans"]}
