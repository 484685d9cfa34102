"""Names beside curves: where they fit, clear of everything."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from drawing import draw, few, legend, lines

from rdbench.report.config import ReportConfig
from rdbench.report.figures.curve_labels import Named, name_directly
from rdbench.report.figures.style import figure_style


def test_names_stand_beside_their_curves_clear_of_everything(aggregates: pd.DataFrame) -> None:
    some = few(aggregates, "opus", "mp3", "lyra", "lowpass_3500")
    figure = draw(some, "speech", "stoi", ReportConfig())
    assert not figure.legends
    (axes,) = figure.axes
    with figure_style():
        figure.draw_without_rendering()
    names = {t.get_text().split("\n")[0]: t for t in axes.texts if t.get_gid() == "direct label"}
    assert len(names) == 3
    boxes = {name: text.get_window_extent() for name, text in names.items()}
    for one, other in itertools.combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    curves = {gid.split("/")[0]: line for gid, line in lines(axes).items() if "/codes" in gid}
    for name, box in boxes.items():
        away = {}
        for curve, line in curves.items():
            ends = axes.transData.transform(np.column_stack(line.get_data()))
            steps = np.concatenate([np.linspace(a, b, 60) for a, b in itertools.pairwise(ends)])
            gaps = np.maximum(np.maximum(box.min - steps, steps - box.max), 0)
            away[curve] = np.hypot(*gaps.T).min()
        own = next(curve for curve in away if name.startswith(curve))
        assert away[own] > 0
        assert min(away, key=away.__getitem__) == own
        assert names[name].get_color() == curves[own].get_color()


def test_curves_without_free_space_get_a_legend(aggregates: pd.DataFrame) -> None:
    figure = draw(aggregates, "speech", "pesq_wb", ReportConfig())
    assert len(legend(figure)) == 8
    assert not [t for t in figure.axes[0].texts if t.get_gid() == "direct label"]
    with figure_style():
        axes = draw(few(aggregates, "opus"), "music", "visqol_audio").axes[0]
        same = np.column_stack(lines(axes)["Opus/codes"].get_data())
        twins = [Named("one", same, "#000000"), Named("other", same, "#000000")]
        assert not name_directly(axes, twins, points=6.5)  # nearer to its own than to none
