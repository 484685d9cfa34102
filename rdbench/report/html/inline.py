"""A run as part of a page that somebody else makes, such as a notebook's."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from rdbench.report.cards import clips_text, describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.panel import find_panels
from rdbench.report.figures.rate_quality import draw_overview
from rdbench.report.figures.style import Look, card_styles, figure_style
from rdbench.report.figures.write import figure_png
from rdbench.report.tables.html import STYLE, web_table
from rdbench.report.tables.points import score_table
from rdbench.report.tables.run_tables import domains_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import pandas as pd

# Of the style of a page of tables, what is about tables: the page around is somebody else's.
_TABLES = STYLE[STYLE.index(".wide") :].replace("background: #fff; ", "background: inherit; ")


def run_html(points: pd.DataFrame, manifest: Mapping[str, Any], *, title: str) -> str:
    """A figure with all metrics of each domain, and below it the table of its scores.

    points: of `rdbench.analysis.aggregate.run_points`. manifest: what `rdbench.report.cards` says.
    It needs nothing beside it.
    """
    card, config = describe(points, manifest), ReportConfig(style="screen", formats=("png",))
    panels, _ = find_panels(points, card, config)
    parts = [f"<p><b>{escape(title)}</b></p>"]
    for domain in domains_of(points):
        inside = points[points["domain"] == domain]
        shown = [panel for panel in panels if panel.domain == domain]
        if shown:
            with figure_style(config.style, config.font):
                png = figure_png(draw_overview(shown, Look(card, card_styles(card), config)))
            picture = base64.b64encode(png).decode()
            name = escape(f"{card.domain_label(domain)}: every metric over the rate")
            parts.append(
                f'<img alt="{name}" src="data:image/png;base64,{picture}" '
                'style="max-width: 100%; background: #fff">'
            )
        caption = f"{clips_text(inside)}; 95 % intervals over groups of clips."
        parts.append(web_table(score_table(inside, card, caption=caption)))
    return f'<style>.rdbench {{ {_TABLES} }}</style><div class="rdbench">{"".join(parts)}</div>'
