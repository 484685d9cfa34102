"""One panel of a run's figures on axes that somebody else made, in their style."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.curve_labels import MOST
from rdbench.report.figures.curves import draw_panel, rate_label
from rdbench.report.figures.panel import Panel, find_panels, kinds_of
from rdbench.report.figures.style import Look, card_styles
from rdbench.suggest import nearest
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes


def draw_on(
    axes: Axes,
    points: pd.DataFrame,
    manifest: Mapping[str, Any],
    *,
    metric: str,
    domain: str | None = None,
    config: ReportConfig | None = None,
) -> None:
    """Draws the curves of one metric and domain with axis labels, intervals and a legend.

    points: of `rdbench.analysis.aggregate.run_points`. manifest: what `rdbench.report.cards` says.
    metric: its key. domain: may be left out where the metric has values on one alone.

    Raises RdbenchError for a metric without a value, and where the domain must be named.
    """
    config = config or ReportConfig()
    card = describe(points, manifest)
    panels, _ = find_panels(points, card, config)
    panel = _chosen(panels, metric, domain)
    kinds = kinds_of([panel])
    drawn = draw_panel(axes, panel, Look(card, card_styles(card), config), kinds)
    axes.set_xlabel(rate_label(kinds))
    axes.set_title(card.domain_label(panel.domain))
    # A leading underscore would hide an entry.
    entries = {f" {k}" if k.startswith("_") else k: v for k, v in drawn.legend.items()}
    entries |= drawn.levels
    if entries:
        # Many names would cover the curves.
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        place = beside if len(entries) > MOST else {}
        axes.legend(list(entries.values()), list(entries), fontsize="small", **place)


def _chosen(panels: Sequence[Panel], metric: str, domain: str | None) -> Panel:
    known = list(dict.fromkeys(panel.name for panel in panels))
    found = [panel for panel in panels if panel.name == metric]
    if not found:
        raise RdbenchError(f"there is no value of {metric!r} in this run; {nearest(metric, known)}")
    domains = [panel.domain for panel in found]
    if domain is None and len(found) > 1:
        raise RdbenchError(
            f"{metric} was measured on {', '.join(domains)}, which are never pooled; name one as "
            "`domain`"
        )
    for panel in found:
        if domain in (None, panel.domain):
            return panel
    raise RdbenchError(f"{metric} has no value on {domain!r}; {nearest(domain, domains)}")
