"""The numbers behind a figure."""

from __future__ import annotations

from pathlib import Path

import make_run
import numpy as np
import pandas as pd
from drawing import draw, few, lines

from rdbench.report.config import ReportConfig
from rdbench.report.figures.write import write_figures


def test_the_numbers_behind_a_figure_are_those_that_it_shows(
    aggregates: pd.DataFrame, tmp_path: Path
) -> None:
    some = few(aggregates, "opus", "vae_6", "rvq", "identity")
    some = some[(some["domain"] == "music") & some["key"].isin(
        ["visqol_audio", "payload", "kl", "coded", "nominal", "entropy"]
    )]  # fmt: skip
    config = ReportConfig(data=True, arrows=True, formats=("svg",))
    manifest = make_run.make_manifest()
    written, _ = write_figures(tmp_path, points=some, manifest=manifest, config=config)
    path = tmp_path / "figures" / "data" / "music_visqol_audio.csv"
    assert path in written
    table = pd.read_csv(path, dtype={"point": str})
    roles = table.groupby("role").size()
    assert roles["point"] == 7 + 1 + 1 + 6  # Opus, VAE as sample and coded, RVQ
    assert roles["not a rate point"] == 1
    assert roles["anchor"] == 1
    assert roles["arrow to"] == 1 + 6
    drawn = lines(draw(some, "music", "visqol_audio").axes[0])["Opus/codes"]
    opus = table[(table["system"] == "opus")].sort_values("kbps")
    np.testing.assert_allclose(opus["kbps"], drawn.get_xdata())
    np.testing.assert_allclose(opus["value"], drawn.get_ydata())
    assert (opus["rate_kind"] == "payload").all()
