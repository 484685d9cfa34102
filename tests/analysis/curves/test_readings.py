"""Readings interpolate between measured points and never leave them."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import make_run, score

from rdbench.analysis.curves.readings import reading_table
from rdbench.types import RdbenchError


def test_at_a_measured_rate_the_reading_is_the_measured_mean() -> None:
    run = make_run()
    table = reading_table(run, at_kbps=[12.0], metrics=["quality"])
    rows = run.rows
    for row in table.to_dict("records"):
        chosen = rows[(rows["system"] == row["curve"]) & (rows["point"] == "12")]
        mean = chosen.loc[chosen["key"] == "quality", "value"].mean()
        assert row["value"] == pytest.approx(mean)
        assert row["low"] < row["value"] < row["high"]
        assert row["unit"] == "MOS"


def test_the_rate_that_reaches_a_quality_and_the_quality_at_that_rate_agree() -> None:
    run = make_run(noise=0.0)
    there = reading_table(run, to_reach={"quality": [3.0]}, curves=["new"]).iloc[0]
    assert there["unit"] == "kbps"
    back = reading_table(run, at_kbps=[there["value"]], curves=["new"], metrics=["quality"]).iloc[0]
    assert back["value"] == pytest.approx(3.0, abs=0.02)
    assert score(there["value"], 6.0 * 1.05) == pytest.approx(3.0, abs=0.15)


def test_a_lower_is_better_metric_is_read_in_its_own_values() -> None:
    table = reading_table(
        make_run(), to_reach={"distance": [17.0], "quality": [3.0]}, curves=["new"]
    ).set_index("key")
    assert table.loc["distance", "value"] == pytest.approx(table.loc["quality", "value"])


def test_outside_the_measured_range_the_answer_is_the_range() -> None:
    table = reading_table(
        make_run(), at_kbps=[25.0], to_reach={"quality": [4.9]}, curves=["new"],
        metrics=["quality"],
    )  # fmt: skip
    assert np.isnan(table["value"]).all()
    assert table["reason"].iloc[0] == "refused: measured from 5 to 20 kbps"
    assert "measured from" in table["reason"].iloc[1]


def test_what_is_not_there_is_one_sentence() -> None:
    with pytest.raises(RdbenchError, match="was not measured"):
        reading_table(make_run(), to_reach={"pesq": [3.0]})
    with pytest.raises(RdbenchError, match="no rate"):
        reading_table(make_run(), at_kbps=[-1.0])
