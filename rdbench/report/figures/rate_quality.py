"""Rate–quality figures: of one domain and metric, and small multiples of a domain and of several.

Figures are matplotlib objects without pyplot: no global state, no window, safe in a thread of
their own as long as only one draws at a time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdbench.report.cards import clips_text
from rdbench.report.figures.curve_labels import MOST, Named, name_directly
from rdbench.report.figures.curves import Drawn, draw_panel, quality_label, rate_label
from rdbench.report.figures.legend import draw_legend, plan_legend
from rdbench.report.figures.levels import name_at_edge
from rdbench.report.figures.panel import Panel, kinds_of
from rdbench.report.figures.style import QUIET, Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_COLUMNS = 3
PAGE = 9.2  # inches: the tallest figure
SMALL, SMALLER = 6.5, 6.0  # points
LONG_NAME = 18
NEAR_TOP = 0.85
# In one piece: it is not broken over lines.
INTERVALS = "shaded: 95 % intervals".replace(" ", "\N{NO-BREAK SPACE}")


def draw_metric(panel: Panel, look: Look) -> Figure:
    """One column wide: the curves of one domain and metric, named directly or in a legend."""
    curves = panel.data.loc[~panel.data["anchor"], ["curve", "variant"]].drop_duplicates()
    if look.config.labels == "auto" and len(curves) <= MOST:
        figure, drawn = _metric_figure(panel, look, legend=False)
        lay_out(figure)
        for longest in (LONG_NAME, 0):  # in one line, then with the kind of rate below
            names = [
                Named(_broken(label, longest), s.rows[["kbps", "value"]].to_numpy(float), s.colour)
                for label, s in drawn.series.items()
            ]
            if name_directly(figure.axes[0], names, points=look.points(SMALL)):
                return figure
    figure, _ = _metric_figure(panel, look, legend=True)
    return figure


def _metric_figure(panel: Panel, look: Look, *, legend: bool) -> tuple[Figure, Drawn]:
    from matplotlib.figure import Figure

    width = look.config.inches.one
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, width)
    axes = figure.add_subplot()
    drawn = draw_panel(axes, panel, look, kinds_of([panel]))
    families = look.config.legend == "family"
    plan = plan_legend(drawn, inches=width, families=families, curves=legend, levels=False)
    heading = [*_heading([panel], look), *drawn.remarks]
    # Names at the right edge stand beside the heading too.
    beside = any(height > NEAR_TOP for height, _ in drawn.edge)
    lines = _wrapped(heading, 0.76 * width if beside else width, look)
    height = 0.68 * width + (0.13 * plan.rows + 0.1 * len(lines)) * look.scale
    figure.set_size_inches(width, height)
    axes.set_xlabel(rate_label(kinds_of([panel]), letters=int(15.5 * width / look.scale)))
    axes.set_title("\n".join(lines), fontsize=look.points(SMALLER), color=QUIET)
    name_at_edge(axes, drawn.edge, points=look.points(SMALLER))
    draw_legend(figure, plan)
    return figure, drawn


def draw_overview(panels: Sequence[Panel], look: Look) -> Figure:
    """Two columns wide: one small panel per metric of a domain, one legend for all."""
    columns = min(PANEL_COLUMNS, len(panels))
    cells: list[list[Panel | None]] = [
        list(panels[start : start + columns]) for start in range(0, len(panels), columns)
    ]
    return _multiples(cells, look, titles=True)


def draw_domains(page: Sequence[Sequence[Panel | None]], look: Look) -> Figure:
    """Two columns wide: a row per metric, a column per domain, one legend for all."""
    return _multiples([list(row) for row in page], look, titles=False)


def domain_pages(panels: Sequence[Panel], look: Look) -> list[list[list[Panel | None]]]:
    """Rows of panels by metric, a column per domain, in pages that a sheet of paper can hold.

    Metrics of several domains come first; at most four domains stand side by side.
    """
    domains = list(dict.fromkeys(p.domain for p in panels))[:4]
    names = list(dict.fromkeys(p.name for p in panels if p.domain in domains))
    at = {(p.name, p.domain): p for p in panels}
    rows = [[at.get((name, domain)) for domain in domains] for name in names]
    rows.sort(key=lambda row: sum(panel is None for panel in row))
    fit = max(1, int((PAGE - 1.0) / _panel_height(look, len(domains))))
    return [rows[start : start + fit] for start in range(0, len(rows), fit)]


def _panel_height(look: Look, columns: int) -> float:
    """Inches; wide panels are flat, so that five stand on a page."""
    share = {1: 0.5, 2: 0.46, 3: 0.7}.get(columns, 0.85)
    return share * look.config.inches.two / max(columns, 2)


def _multiples(cells: Sequence[Sequence[Panel | None]], look: Look, *, titles: bool) -> Figure:
    """A grid of panels. titles: every panel is titled by its metric, else its domain by the
    column and its metric by the row.
    """
    from matplotlib.figure import Figure

    panels = [panel for row in cells for panel in row if panel is not None]
    columns = max(map(len, cells))
    single = columns == 1
    width = look.config.inches.one if single else look.config.inches.two
    kinds = kinds_of(panels)
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, width)
    whole, starred = Drawn(), False
    for r, row in enumerate(cells):
        for c, panel in enumerate(row):
            if panel is None:
                continue
            axes = figure.add_subplot(len(cells), columns, r * columns + c + 1)
            drawn = draw_panel(axes, panel, look, kinds)
            whole.add(drawn)
            starred |= bool(drawn.remarks)
            star = " *" * bool(drawn.remarks)
            last = all(not cells[below][c : c + 1] or cells[below][c] is None
                       for below in range(r + 1, len(cells)))  # fmt: skip
            _title_panel(axes, panel, look, star, titles=titles, first=c == 0, top=r == 0)
            if last:
                letters = int(18 * width / columns / look.scale)
                label = rate_label(kinds, letters=letters)
                axes.set_xlabel(label, fontsize=look.points(SMALLER))
    heading = _heading(panels, look, domain=titles)
    heading += ["* not all clips or rates, see table.md"] if starred else []
    if whole.beyond:
        heading.append(f"off the scale: {', '.join(dict.fromkeys(whole.beyond))}")
    lines = _wrapped(["; ".join(heading)] if heading else [], width, look)
    families = look.config.legend == "family"
    plan = plan_legend(whole, inches=width, families=families)
    height = len(cells) * _panel_height(look, columns) if not single else 0.7 * width * len(cells)
    figure.set_size_inches(
        width, height + (0.16 + 0.15 * plan.rows + 0.11 * len(lines)) * look.scale
    )
    if lines:
        figure.suptitle("\n".join(lines), fontsize=look.points(SMALLER), color=QUIET)
    draw_legend(figure, plan)
    return figure


def _title_panel(
    axes: Any, panel: Panel, look: Look, star: str, *, titles: bool, first: bool, top: bool
) -> None:
    name = quality_label(panel.metric)
    if titles:
        # A title needs no height of its own; a long name beside a small panel does.
        axes.set_ylabel("")
        axes.set_title(name + star)
        return
    axes.set_ylabel("\n".join(textwrap.wrap(name, 24)), fontsize=look.points(SMALL))
    if not first:
        axes.set_ylabel("")
    domain = look.card.domain_label(panel.domain)
    axes.set_title(f"{domain}{star}" if top or star or first else domain)


def _heading(panels: Sequence[Panel], look: Look, *, domain: bool = True) -> list[str]:
    if not look.config.heading:
        return []
    if not domain:
        return [INTERVALS]
    widest = max((panel.data for panel in panels), key=lambda data: int(data["n_total"].max()))
    name = look.card.domain_label(panels[0].domain)
    return [f"{name}, {clips_text(widest)}; {INTERVALS}"]


def _wrapped(texts: Sequence[str], width: float, look: Look) -> list[str]:
    letters = int(width * 19 / look.scale)
    return [line for text in texts for line in textwrap.wrap(text, letters)]


def _broken(label: str, longest: int) -> str:
    """A name beside a curve: what is in brackets stands below one longer than `longest`."""
    name, bracket, rest = label.partition(" (")
    return f"{name}\n({rest}" if bracket and len(label) > longest else label


def lay_out(figure: Figure) -> None:
    """Makes the layout final, so that places in the axes can be found."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
