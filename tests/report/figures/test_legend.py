"""Legends: as wide as their names, a column per family."""

from __future__ import annotations

import make_run
import pandas as pd
import pytest
from drawing import LEGEND, draw, prepared

from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.panel import find_panels
from rdbench.report.figures.rate_quality import draw_metric, draw_overview
from rdbench.report.figures.style import (
    Look,
    card_styles,
    figure_style,
)


def test_the_legend_covers_no_data(aggregates: pd.DataFrame) -> None:
    figure = draw(aggregates, "speech", "pesq_wb")
    with figure_style():
        figure.draw_without_rendering()
    (axes,) = figure.axes
    box = figure.legends[0].get_window_extent()
    assert box.y1 < axes.xaxis.label.get_window_extent().y0
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


@pytest.mark.parametrize("letter", ["W", "i", "a"])
def test_a_legend_is_as_wide_as_its_names_and_no_wider_than_the_figure(
    aggregates: pd.DataFrame, letter: str
) -> None:
    card = describe(aggregates, make_run.make_manifest())
    for number, name in enumerate(card.systems):
        object.__setattr__(card.systems[name], "label", letter * 9 + str(number))
    panels, _ = find_panels(aggregates, card, LEGEND)
    with figure_style():
        figure = draw_metric(panels[0], Look(card, card_styles(card), LEGEND))
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_a_legend_may_stand_in_families(aggregates: pd.DataFrame) -> None:
    panels, painter = prepared(aggregates, "speech")
    card = painter.card
    for name in card.systems:
        object.__setattr__(
            card.systems[name], "family", "models" if name[:3] in ("vae", "rvq") else "codecs"
        )
    families = type(painter)(card, painter.styles, ReportConfig(legend="family"))
    with figure_style():
        figure = draw_overview(list(panels.values()), families)
    texts = figure.legends[0].get_texts()
    bold = [t.get_text() for t in texts if t.get_fontweight() == "bold"]
    assert bold == ["codecs", "models", "anchors"]
    named = [t.get_text() for t in texts]
    assert named.index("Opus (payload)") < named.index("models") < named.index("VAE (kl)")
