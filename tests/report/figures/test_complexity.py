"""Quality over rate, time and parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawing import lines, prepared

from rdbench.report.figures.complexity import draw_complexity, with_costs
from rdbench.report.figures.style import figure_style


def test_costs_stand_beside_the_rate_on_one_quality_axis(aggregates: pd.DataFrame) -> None:
    panels, painter = prepared(aggregates, "speech")
    with figure_style():
        made = draw_complexity(panels["stoi"], aggregates, painter)
    assert made is not None
    figure, numbers = made
    rate, time, size = figure.axes
    assert time.get_shared_y_axes().joined(rate, time)
    assert "coding time / audio time" in time.get_xlabel()
    assert "parameters" in size.get_xlabel()
    assert "no parameters: Opus, MP3, Lyra v2" in figure.get_suptitle()
    opus = lines(time)["Opus/codes"]
    assert opus.get_xdata() == pytest.approx([0.016] * 7)  # 0.012 to encode, 0.004 to decode
    assert "Opus/codes" not in lines(size)
    row = numbers[(numbers["system"] == "vae_6") & (numbers["variant"] == "sample")].iloc[0]
    assert row["real_time_factor"] == pytest.approx(0.075)
    assert row["parameters"] == 2_790_432
    times = numbers[numbers["system"] == "vae_6"].set_index("variant")["real_time_factor"]
    assert times["coded"] == pytest.approx(0.275)  # of its own: a stream is made and read
    assert times["mean"] == times["sample"]
    unmeasured = aggregates[(aggregates["kind"] != "cost") | (aggregates["variant"] != "coded")]
    lent = with_costs(panels["stoi"].data, unmeasured, painter.card)
    lent = lent[lent["system"] == "vae_6"].set_index("variant")["real_time_factor"]
    assert np.isnan(lent["coded"])
    assert lent["mean"] == lent["sample"]
    free = aggregates[aggregates["kind"] != "cost"]
    assert draw_complexity(panels["stoi"], free, painter) is None
