"""All figures of a run as files (PDF, SVG, PNG: the same for the same numbers), and their CSV."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.complexity import draw_complexity
from rdbench.report.figures.panel import find_panels, panel_numbers
from rdbench.report.figures.rate_quality import (
    domain_pages,
    draw_domains,
    draw_metric,
    draw_overview,
    lay_out,
)
from rdbench.report.figures.style import Look, card_styles, figure_style
from rdbench.report.names import slug
from rdbench.report.spreadsheet import spreadsheet
from rdbench.store.atomic import make_folder, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_figures(
    folder: Path,
    *,
    points: pd.DataFrame,
    manifest: Mapping[str, Any],
    config: ReportConfig | None = None,
    at: Callable[[str], None] = lambda _: None,
) -> tuple[list[Path], list[str]]:
    """Draws every figure of a run into `folder`/figures; returns the files, and what is missing.

    points: of `rdbench.analysis.aggregate.points`. manifest: what `rdbench.report.cards` says.
    One figure per domain and metric that has at least one value, `<domain>_<metric>`;
    `overview_<domain>`; `domains` (or `domains_1` …) where there are several; `cost_<domain>` where
    costs were measured. With `config.data` each has its numbers beside it as CSV. Each file
    appears whole. Sentences say what could not be drawn. at: told which figure is begun.
    """
    config = config or ReportConfig()
    card = describe(points, manifest)
    look = Look(card, card_styles(card), config)
    panels, notes = find_panels(points, card, config)
    target = folder / "figures"
    make_folder(target, within=folder)
    written: list[Path] = []
    files = partial(figure_files, config=config, within=folder)
    with figure_style(config.style, config.font):
        for panel in panels:
            name = f"{slug(panel.domain)}_{slug(panel.name)}"
            at(f"drawing {name}")
            figure = draw_metric(panel, look)
            numbers = [panel_numbers(panel, card)]
            written += files(figure, target / name, numbers)
        by_domain = {p.domain: [q for q in panels if q.domain == p.domain] for p in panels}
        for domain, part in by_domain.items():
            at(f"drawing the overview of {slug(domain)}")
            figure = draw_overview(part, look)
            numbers = [panel_numbers(panel, card) for panel in part]
            written += files(figure, target / f"overview_{slug(domain)}", numbers)
            made = draw_complexity(part[0], points, look)
            if made is not None:
                figure, table = made
                written += files(figure, target / f"cost_{slug(domain)}", [table])
        if len(by_domain) > 1:
            pages = domain_pages(panels, look)
            for number, page in enumerate(pages, start=1):
                name = f"domains_{number}" if len(pages) > 1 else "domains"
                at(f"drawing {name}")
                numbers = [panel_numbers(panel, card) for row in page for panel in row if panel]
                written += files(draw_domains(page, look), target / name, numbers)
    return written, notes


def figure_files(
    figure: Figure,
    stem: Path,
    numbers: Sequence[pd.DataFrame],
    config: ReportConfig,
    *,
    within: Path | None = None,
) -> list[Path]:
    """Writes `stem`.pdf, .svg and .png as `config.formats` asks, each whole.

    numbers: what the figure shows; written to data/NAME.csv beside it with `config.data`. within:
    as in `rdbench.store.atomic.write_atomic`.
    """
    lay_out(figure)  # one for all formats: it costs more than drawing
    written = []
    for kind in config.formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        write_atomic(path, _drawn(figure, kind), within=within)
        written.append(path)
    if config.data:
        written.append(_write_numbers(stem, numbers, within))
    return written


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    lay_out(figure)
    return _drawn(figure, "png")


def _write_numbers(stem: Path, numbers: Sequence[pd.DataFrame], within: Path | None) -> Path:
    import pandas as pd

    folder = stem.parent / "data"
    make_folder(folder, within=within or stem.parent)
    path = folder / f"{stem.name}.csv"
    text = spreadsheet(pd.concat(numbers, ignore_index=True))
    write_atomic(path, text.encode("utf-8", errors="replace"), within=within or stem.parent)
    return path


def _drawn(figure: Figure, kind: str) -> bytes:
    """The figure as a file; without a date, so that the same numbers make the same file.

    `Figure.savefig` would draw everything twice, to leave room for a layout that is done by now.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    # matplotlib's writers are untyped.
    if kind == "png":
        figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
        FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    elif kind == "pdf":
        FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
    else:
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
