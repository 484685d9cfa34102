"""Rate–quality figures of a run: one per domain and metric, and an overview per domain.

Figures are matplotlib objects without pyplot: no global state, no window, safe in a thread of
their own as long as only one draws at a time.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.aggregate import rate_distortion
from rdbench.report.describe import (
    RESIDUAL_DELAY,
    MetricCard,
    RunCard,
    clips_text,
    describe,
    scored_metrics,
)
from rdbench.report.names import clean, slug
from rdbench.report.panel import Drawn, draw_panel, quality_label, rate_label
from rdbench.report.style import CurveStyle, curve_styles, paper_style
from rdbench.store.atomic import make_folder, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf")
ONE_COLUMN = 3.5  # inches
TWO_COLUMNS = 7.16
PANEL_COLUMNS = 3
SHORT_LABEL = 12  # three such stand side by side in one column


def write_figures(
    folder: Path,
    *,
    points: pd.DataFrame,
    manifest: Mapping[str, Any],
    rate: str = "headline",
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Draws every figure of a run into `folder`/figures and returns the files.

    points: of `rdbench.analysis.aggregate.points`. manifest: what `rdbench.report.describe` says.
    rate: "headline", or one rate kind for the axis. One figure per domain and metric that has at
    least one value, `<domain>_<metric>`, and `overview_<domain>`. Each file appears whole.
    """
    card = describe(points, manifest)
    styles = curve_styles(card.curves)
    scores = rate_distortion(points, card.headlines, rate=rate)
    scores = scores[scores["key"] != RESIDUAL_DELAY]
    target = folder / "figures"
    make_folder(target)
    written: list[Path] = []
    with paper_style():
        for domain in dict.fromkeys(scores["domain"]):
            panels = _panels(scores[scores["domain"] == domain], points, card)
            for name, metric, data in panels:
                figure = draw_metric(domain, metric, data, card=card, styles=styles)
                written += _save(figure, target / f"{slug(domain)}_{slug(name)}", formats)
            if panels:
                figure = draw_overview(
                    domain, [(metric, data) for _, metric, data in panels], card=card, styles=styles
                )
                written += _save(figure, target / f"overview_{slug(domain)}", formats)
    return written


def draw_metric(
    domain: str,
    metric: MetricCard,
    data: pd.DataFrame,
    *,
    card: RunCard,
    styles: Mapping[str, CurveStyle],
) -> Figure:
    """One column wide: the curves of one domain and metric, `data` of `rate_distortion`."""
    from matplotlib.figure import Figure

    kinds = _kinds(data)
    entries = _entries(data)
    rows = math.ceil(entries / 2)
    figure = Figure(figsize=(ONE_COLUMN, 2.55 + 0.13 * rows), layout="constrained")
    axes = figure.add_subplot()
    drawn = draw_panel(axes, data, metric=metric, card=card, styles=styles, kinds=kinds)
    axes.set_xlabel(rate_label(kinds))
    heading = [f"{clean(domain)}, {clips_text(data)}; bars: 95 % intervals", *drawn.remarks]
    lines = [line for text in heading for line in textwrap.wrap(text, 66)]
    axes.set_title("\n".join(lines), fontsize=6, color="#4A4A4A")
    short = all(len(label) <= SHORT_LABEL for label in drawn.legend)
    _legend(figure, drawn, columns=3 if short else 2)
    return figure


def draw_overview(
    domain: str,
    panels: Sequence[tuple[MetricCard, pd.DataFrame]],
    *,
    card: RunCard,
    styles: Mapping[str, CurveStyle],
) -> Figure:
    """Two columns wide: one small panel per metric of a domain, one legend for all."""
    from matplotlib.figure import Figure

    columns = min(PANEL_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    kinds = list(dict.fromkeys(kind for _, data in panels for kind in _kinds(data)))
    legend_rows = math.ceil(max(_entries(data) for _, data in panels) / 4)
    width = TWO_COLUMNS if columns > 1 else ONE_COLUMN
    figure = Figure(figsize=(width, 0.35 + 1.75 * rows + 0.13 * legend_rows), layout="constrained")
    whole = Drawn()
    starred = False
    for index, (metric, data) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        drawn = draw_panel(axes, data, metric=metric, card=card, styles=styles, kinds=kinds)
        whole.add(drawn)
        starred |= bool(drawn.remarks)
        # A title needs no height of its own; a long name beside a small panel does.
        axes.set_ylabel("")
        axes.set_title(quality_label(metric) + " *" * bool(drawn.remarks))
        if index + columns >= len(panels):
            axes.set_xlabel(rate_label(kinds), fontsize=6)
    widest = max((data for _, data in panels), key=lambda data: int(data["n_total"].max()))
    heading = f"{clean(domain)}, {clips_text(widest)}; bars: 95 % intervals"
    heading += "; * not all clips or rates, see table.md" if starred else ""
    figure.suptitle(heading, fontsize=6.5, color="#4A4A4A")
    _legend(figure, whole, columns=4 if columns > 1 else 2)
    return figure


def _panels(
    scores: pd.DataFrame, points: pd.DataFrame, card: RunCard
) -> list[tuple[str, MetricCard, pd.DataFrame]]:
    """(file name, metric, rows) for each metric and backend that has a value in one domain."""
    pairs = scored_metrics(points, card)
    keys = [key for key, _ in pairs]
    found = []
    for key, backend in pairs:
        data = scores[(scores["key"] == key) & (scores["backend"] == backend)]
        if not np.isfinite(data["value"]).any():
            continue
        name = f"{key}_{backend}" if keys.count(key) > 1 else key
        found.append((name, card.metrics[key], data))
    return found


def _kinds(data: pd.DataFrame) -> list[str]:
    drawn = data[~data["anchor"] & np.isfinite(data["kbps"]) & np.isfinite(data["value"])]
    return list(dict.fromkeys(drawn["rate_kind"]))


def _entries(data: pd.DataFrame) -> int:
    return len(data.loc[~data["anchor"], ["curve", "variant"]].drop_duplicates())


def _legend(figure: Figure, drawn: Drawn, *, columns: int) -> None:
    if not drawn.legend:
        return
    # A leading underscore would hide the entry.
    labels = [f" {label}" if label.startswith("_") else label for label in drawn.legend]
    figure.legend(
        list(drawn.legend.values()),
        labels,
        loc="outside lower center",
        ncols=min(columns, len(labels)),
    )


def _save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    written = []
    with warnings.catch_warnings():
        # A label may hold signs that the font lacks; a box is drawn for them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # One layout for all formats: it costs more than drawing.
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")
        for kind in formats:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=_metadata(kind))
            path = stem.with_name(f"{stem.name}.{kind}")
            write_atomic(path, buffer.getvalue())
            written.append(path)
    return written


def _metadata(kind: str) -> dict[str, Any] | None:
    """No date: the same numbers make the same file."""
    return {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
