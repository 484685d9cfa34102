"""Horizontal lines: anchors and the ceiling of a metric."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
from drawing import draw, lines

from rdbench.report.figures.style import (
    figure_style,
)


def test_anchors_are_named_lines_and_far_ones_do_not_flatten_the_curves(
    aggregates: pd.DataFrame,
) -> None:
    (axes,) = draw(aggregates, "speech", "si_sdr").axes
    drawn = lines(axes)
    assert "anchor/low-pass 3.5 kHz" in drawn
    assert "anchor/identity" not in drawn  # at 100 dB
    named = [text.get_text().replace("\xa0", " ").replace("\n", " ") for text in axes.texts]
    assert "identity 100 ↑" in named
    assert "low-pass 7 kHz" in named
    assert axes.get_ylim()[1] < 30
    (axes,) = draw(aggregates, "speech", "pesq_wb").axes
    assert lines(axes)["anchor/identity"].get_ydata()[0] == pytest.approx(4.644)


def test_the_ceiling_is_drawn_and_named_where_no_anchor_lies_on_it(
    aggregates: pd.DataFrame,
) -> None:
    without = aggregates[aggregates["system"] != "identity"]
    (axes,) = draw(without, "speech", "pesq_wb").axes
    assert lines(axes)["ceiling"].get_ydata()[0] == pytest.approx(4.644)
    assert any(text.get_text().startswith("ceiling") for text in axes.texts)
    (axes,) = draw(aggregates, "speech", "pesq_wb").axes
    assert not any(text.get_text().startswith("ceiling") for text in axes.texts)


def test_edge_labels_do_not_touch(aggregates: pd.DataFrame) -> None:
    for domain, key in [("speech", "pesq_wb"), ("music", "mel_dac_16k"), ("speech", "si_sdr")]:
        figure = draw(aggregates, domain, key)
        with figure_style():
            figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        for one, other in itertools.combinations(boxes, 2):
            overlap = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert overlap < 0.15 * min(one.height, other.height)
