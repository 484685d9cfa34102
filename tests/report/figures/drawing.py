"""Figures of the synthetic run as the tests look at them."""

from __future__ import annotations

import make_run
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.panel import Panel, find_panels
from rdbench.report.figures.rate_quality import draw_metric
from rdbench.report.figures.style import Look, card_styles, figure_style

LEGEND = ReportConfig(labels="legend")
PNG = ReportConfig(formats=("png",))
ARROWS = ReportConfig(arrows=True, labels="legend")


def few(aggregates: pd.DataFrame, *systems: str) -> pd.DataFrame:
    return aggregates[aggregates["system"].isin(systems)]


def prepared(
    aggregates: pd.DataFrame, domain: str, config: ReportConfig = LEGEND
) -> tuple[dict[str, Panel], Look]:
    card = describe(aggregates, make_run.make_manifest())
    panels, _ = find_panels(aggregates, card, config)
    inside = {panel.name: panel for panel in panels if panel.domain == domain}
    return inside, Look(card, card_styles(card), config)


def draw(aggregates: pd.DataFrame, domain: str, key: str, config: ReportConfig = LEGEND) -> Figure:
    panels, look = prepared(aggregates, domain, config)
    with figure_style(config.style, config.font):
        return draw_metric(panels[key], look)


def lines(axes: Axes) -> dict[str, object]:
    return {line.get_gid(): line for line in axes.get_lines() if line.get_gid()}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]
