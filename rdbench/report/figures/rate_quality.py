"""Rate–quality figures of a run: one per domain and metric, small multiples of each domain, of all
domains together, and quality over cost.

Figures are matplotlib objects without pyplot: no global state, no window, safe in a thread of
their own as long as only one draws at a time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.aggregate import rate_distortion
from rdbench.report.cards import (
    DIAGNOSTIC,
    RESIDUAL_DELAY,
    MetricCard,
    RunCard,
    clips_text,
    describe,
    scored_metrics,
)
from rdbench.report.config import ReportConfig
from rdbench.report.figures.arrows import NONE_FOUND, draw_arrows, transitions
from rdbench.report.figures.curve_labels import MOST, Named, name_directly
from rdbench.report.figures.curves import Drawn, draw_panel, quality_label, rate_label
from rdbench.report.figures.legend import draw_legend, plan_legend
from rdbench.report.figures.levels import QUIET, name_at_edge
from rdbench.report.figures.panel import panel_numbers
from rdbench.report.figures.style import CurveStyle, card_styles, figure_style, type_size
from rdbench.report.figures.write import figure_files
from rdbench.report.names import slug
from rdbench.store.atomic import make_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANEL_COLUMNS = 3
PAGE = 9.2  # inches: the tallest figure
SMALL, SMALLER = 6.5, 6.0  # points
LONG_NAME = 18
NEAR_TOP = 0.85
# In one piece: it is not broken over lines.
INTERVALS = "shaded: 95 % intervals".replace(" ", "\N{NO-BREAK SPACE}")


@dataclass(frozen=True)
class Panel:
    """What one panel shows: rows of `rate_distortion` of one domain, metric and backend.

    name: of its file. arrows: rows of `transitions`.
    """

    name: str
    domain: str
    metric: MetricCard
    data: pd.DataFrame
    arrows: pd.DataFrame


@dataclass(frozen=True)
class Painter:
    """What all figures of a run share."""

    card: RunCard
    styles: Mapping[str, CurveStyle]
    config: ReportConfig

    def points(self, size: float) -> float:
        """A size of type in the figure's style."""
        return type_size(size, self.config.style)

    @property
    def scale(self) -> float:
        """Of type and heights: 1 in a paper."""
        return type_size(1.0, self.config.style)


def write_figures(
    folder: Path,
    *,
    points: pd.DataFrame,
    manifest: Mapping[str, Any],
    config: ReportConfig | None = None,
) -> tuple[list[Path], list[str]]:
    """Draws every figure of a run into `folder`/figures; returns the files, and what is missing.

    points: of `rdbench.analysis.aggregate.points`. manifest: what `rdbench.report.cards` says.
    One figure per domain and metric that has at least one value, `<domain>_<metric>`;
    `overview_<domain>`; `domains` (or `domains_1` …) where there are several; `cost_<domain>` where
    costs were measured. With `config.data` each has its numbers beside it as CSV. Each file
    appears whole. Sentences say what could not be drawn.
    """
    from rdbench.report.figures.complexity import draw_complexity

    config = config or ReportConfig()
    card = describe(points, manifest)
    painter = Painter(card, card_styles(card), config)
    panels, notes = find_panels(points, card, config)
    target = folder / "figures"
    make_folder(target)
    written: list[Path] = []
    with figure_style(config.style, config.font):
        for panel in panels:
            figure = draw_metric(panel, painter)
            numbers = [panel_numbers(panel, card)]
            name = f"{slug(panel.domain)}_{slug(panel.name)}"
            written += figure_files(figure, target / name, numbers, config)
        by_domain = {p.domain: [q for q in panels if q.domain == p.domain] for p in panels}
        for domain, part in by_domain.items():
            figure = draw_overview(part, painter)
            numbers = [panel_numbers(panel, card) for panel in part]
            written += figure_files(figure, target / f"overview_{slug(domain)}", numbers, config)
            made = draw_complexity(part[0], points, painter)
            if made is not None:
                figure, table = made
                written += figure_files(figure, target / f"cost_{slug(domain)}", [table], config)
        if len(by_domain) > 1:
            pages = domain_pages(panels, painter)
            for number, page in enumerate(pages, start=1):
                name = f"domains_{number}" if len(pages) > 1 else "domains"
                numbers = [panel_numbers(panel, card) for row in page for panel in row if panel]
                written += figure_files(draw_domains(page, painter), target / name, numbers, config)
    return written, notes


def find_panels(
    points: pd.DataFrame, card: RunCard, config: ReportConfig
) -> tuple[list[Panel], list[str]]:
    """The panels of all domains and metrics that have a value, and sentences on the others."""
    scores = rate_distortion(points, card.headlines, rate=config.rate)
    scores = scores[(scores["key"] != RESIDUAL_DELAY) & ~scores["variant"].isin(DIAGNOSTIC)]
    arrows = transitions(points, card) if config.arrows else None
    notes = [NONE_FOUND] if arrows is not None and arrows.empty else []
    found = []
    for domain in dict.fromkeys(scores["domain"]):
        inside = scores[scores["domain"] == domain]
        pairs = scored_metrics(points[points["domain"] == domain], card)
        keys = [key for key, _ in pairs]
        for key, backend in pairs:
            data = inside[(inside["key"] == key) & (inside["backend"] == backend)]
            if not np.isfinite(data["value"]).any():
                notes.append(f"no figure of {key} on {card.domain_label(domain)}: no value")
                continue
            name = f"{key}_{backend}" if keys.count(key) > 1 else key
            here = _none(data) if arrows is None else arrows[
                (arrows["domain"] == domain)
                & (arrows["key"] == key)
                & (arrows["backend"] == backend)
            ]  # fmt: skip
            found.append(Panel(name, domain, card.metrics[key], data, here))
    if not found:
        notes.append("no figures: no metric has a value")
    elif not np.isfinite(scores.loc[~scores["anchor"], "kbps"]).any():
        kind = config.rate or "headline"
        notes.append(f"figures without curves: no point of this run has a rate of the kind {kind}")
    return found, notes


def draw_metric(panel: Panel, painter: Painter) -> Figure:
    """One column wide: the curves of one domain and metric, named directly or in a legend."""
    curves = panel.data.loc[~panel.data["anchor"], ["curve", "variant"]].drop_duplicates()
    if painter.config.labels == "auto" and len(curves) <= MOST:
        figure, drawn = _metric_figure(panel, painter, legend=False)
        _lay_out(figure)
        for longest in (LONG_NAME, 0):  # in one line, then with the kind of rate below
            names = [
                Named(_broken(label, longest), s.rows[["kbps", "value"]].to_numpy(float), s.colour)
                for label, s in drawn.series.items()
            ]
            if name_directly(figure.axes[0], names, points=painter.points(SMALL)):
                return figure
    figure, _ = _metric_figure(panel, painter, legend=True)
    return figure


def _metric_figure(panel: Panel, painter: Painter, *, legend: bool) -> tuple[Figure, Drawn]:
    from matplotlib.figure import Figure

    width = painter.config.inches.one
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, width)
    axes = figure.add_subplot()
    drawn = _draw(axes, panel, painter, kinds_of([panel]))
    families = painter.config.legend == "family"
    plan = plan_legend(drawn, inches=width, families=families, curves=legend, anchors=False)
    heading = [*_heading([panel], painter), *drawn.remarks]
    # Names at the right edge stand beside the heading too.
    beside = any(height > NEAR_TOP for height, _ in drawn.edge)
    lines = _wrapped(heading, 0.76 * width if beside else width, painter)
    height = 0.68 * width + (0.13 * plan.rows + 0.1 * len(lines)) * painter.scale
    figure.set_size_inches(width, height)
    axes.set_xlabel(rate_label(kinds_of([panel]), letters=int(15.5 * width / painter.scale)))
    axes.set_title("\n".join(lines), fontsize=painter.points(SMALLER), color=QUIET)
    name_at_edge(axes, drawn.edge, points=painter.points(SMALLER))
    draw_legend(figure, plan)
    return figure, drawn


def draw_overview(panels: Sequence[Panel], painter: Painter) -> Figure:
    """Two columns wide: one small panel per metric of a domain, one legend for all."""
    columns = min(PANEL_COLUMNS, len(panels))
    cells: list[list[Panel | None]] = [
        list(panels[start : start + columns]) for start in range(0, len(panels), columns)
    ]
    return _multiples(cells, painter, titles=True)


def draw_domains(page: Sequence[Sequence[Panel | None]], painter: Painter) -> Figure:
    """Two columns wide: a row per metric, a column per domain, one legend for all."""
    return _multiples([list(row) for row in page], painter, titles=False)


def domain_pages(panels: Sequence[Panel], painter: Painter) -> list[list[list[Panel | None]]]:
    """Rows of panels by metric, a column per domain, in pages that a sheet of paper can hold.

    Metrics of several domains come first; at most four domains stand side by side.
    """
    domains = list(dict.fromkeys(p.domain for p in panels))[:4]
    names = list(dict.fromkeys(p.name for p in panels if p.domain in domains))
    at = {(p.name, p.domain): p for p in panels}
    rows = [[at.get((name, domain)) for domain in domains] for name in names]
    rows.sort(key=lambda row: sum(panel is None for panel in row))
    fit = max(1, int((PAGE - 1.0) / _panel_height(painter, len(domains))))
    return [rows[start : start + fit] for start in range(0, len(rows), fit)]


def _panel_height(painter: Painter, columns: int) -> float:
    """Inches; wide panels are flat, so that five stand on a page."""
    share = {1: 0.5, 2: 0.46, 3: 0.7}.get(columns, 0.85)
    return share * painter.config.inches.two / max(columns, 2)


def _multiples(
    cells: Sequence[Sequence[Panel | None]], painter: Painter, *, titles: bool
) -> Figure:
    """A grid of panels. titles: every panel is titled by its metric, else its domain by the
    column and its metric by the row.
    """
    from matplotlib.figure import Figure

    panels = [panel for row in cells for panel in row if panel is not None]
    columns = max(map(len, cells))
    single = columns == 1
    width = painter.config.inches.one if single else painter.config.inches.two
    kinds = kinds_of(panels)
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, width)
    whole, starred = Drawn(), False
    for r, row in enumerate(cells):
        for c, panel in enumerate(row):
            if panel is None:
                continue
            axes = figure.add_subplot(len(cells), columns, r * columns + c + 1)
            drawn = _draw(axes, panel, painter, kinds)
            whole.add(drawn)
            starred |= bool(drawn.remarks)
            star = " *" * bool(drawn.remarks)
            last = all(not cells[below][c : c + 1] or cells[below][c] is None
                       for below in range(r + 1, len(cells)))  # fmt: skip
            _title_panel(axes, panel, painter, star, titles=titles, first=c == 0, top=r == 0)
            if last:
                letters = int(18 * width / columns / painter.scale)
                label = rate_label(kinds, letters=letters)
                axes.set_xlabel(label, fontsize=painter.points(SMALLER))
    heading = _heading(panels, painter, domain=titles)
    heading += ["* not all clips or rates, see table.md"] if starred else []
    if whole.beyond:
        heading.append(f"off the scale: {', '.join(dict.fromkeys(whole.beyond))}")
    lines = _wrapped(["; ".join(heading)] if heading else [], width, painter)
    families = painter.config.legend == "family"
    plan = plan_legend(whole, inches=width, families=families)
    height = (
        len(cells) * _panel_height(painter, columns) if not single else 0.7 * width * len(cells)
    )
    figure.set_size_inches(
        width, height + (0.16 + 0.15 * plan.rows + 0.11 * len(lines)) * painter.scale
    )
    if lines:
        figure.suptitle("\n".join(lines), fontsize=painter.points(SMALLER), color=QUIET)
    draw_legend(figure, plan)
    return figure


def _title_panel(
    axes: Any, panel: Panel, painter: Painter, star: str, *, titles: bool, first: bool, top: bool
) -> None:
    name = quality_label(panel.metric)
    if titles:
        # A title needs no height of its own; a long name beside a small panel does.
        axes.set_ylabel("")
        axes.set_title(name + star)
        return
    axes.set_ylabel("\n".join(textwrap.wrap(name, 24)), fontsize=painter.points(SMALL))
    if not first:
        axes.set_ylabel("")
    domain = painter.card.domain_label(panel.domain)
    axes.set_title(f"{domain}{star}" if top or star or first else domain)


def _draw(axes: Any, panel: Panel, painter: Painter, kinds: Sequence[str]) -> Drawn:
    drawn = draw_panel(
        axes, panel.data, metric=panel.metric, card=painter.card, styles=painter.styles,
        kinds=kinds, reach=list(panel.arrows["to_kbps"]) if len(panel.arrows) else (),
    )  # fmt: skip
    if len(panel.arrows):
        drawn.legend |= draw_arrows(axes, panel.arrows, painter.styles)
    return drawn


def kinds_of(panels: Sequence[Panel]) -> list[str]:
    """The kinds of rate on the axes of these panels."""
    found: list[str] = []
    for panel in panels:
        data = panel.data
        drawn = data[~data["anchor"] & np.isfinite(data["kbps"]) & np.isfinite(data["value"])]
        found += list(drawn["rate_kind"])
        found += list(panel.arrows["to_kind"]) if len(panel.arrows) else []
    return list(dict.fromkeys(found))


def _heading(panels: Sequence[Panel], painter: Painter, *, domain: bool = True) -> list[str]:
    if not painter.config.heading:
        return []
    if not domain:
        return [INTERVALS]
    widest = max((panel.data for panel in panels), key=lambda data: int(data["n_total"].max()))
    name = painter.card.domain_label(panels[0].domain)
    return [f"{name}, {clips_text(widest)}; {INTERVALS}"]


def _wrapped(texts: Sequence[str], width: float, painter: Painter) -> list[str]:
    letters = int(width * 19 / painter.scale)
    return [line for text in texts for line in textwrap.wrap(text, letters)]


def _broken(label: str, longest: int) -> str:
    """A name beside a curve: what is in brackets stands below one longer than `longest`."""
    name, bracket, rest = label.partition(" (")
    return f"{name}\n({rest}" if bracket and len(label) > longest else label


def _lay_out(figure: Figure) -> None:
    """Makes the layout final, so that places in the axes can be found."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")


def _none(data: pd.DataFrame) -> pd.DataFrame:
    return data.iloc[:0]
