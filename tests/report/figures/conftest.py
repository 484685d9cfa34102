"""The aggregates that all tests of figures draw."""

from __future__ import annotations

import make_run
import pandas as pd
import pytest

from rdbench.analysis.aggregate import points


@pytest.fixture(scope="session")
def aggregates() -> pd.DataFrame:
    """The synthetic run with streams of tokens beside its nominal rates."""
    frame = make_run.make_frame()
    streams = frame[(frame["kind"] == "rate") & (frame["key"] == "nominal")].copy()
    streams["key"], streams["backend"] = "entropy", "static"
    streams["value"] *= 0.8
    return points(pd.concat([frame, streams], ignore_index=True))
