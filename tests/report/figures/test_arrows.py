"""Arrows from a computed rate to that of a stream."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from drawing import ARROWS, draw, few, legend

from rdbench.report.config import ReportConfig
from rdbench.report.figures.curves import curve_label
from rdbench.report.figures.write import write_figures


def test_arrows_lead_from_a_bound_to_a_stream(aggregates: pd.DataFrame) -> None:
    figure = draw(few(aggregates, "vae_6", "rvq"), "speech", "stoi", ARROWS)
    (axes,) = figure.axes
    arrows = [t for t in axes.texts if getattr(t, "arrow_patch", None) is not None]
    assert len(arrows) == 1 + 6
    rates = aggregates[(aggregates["domain"] == "speech") & (aggregates["kind"] == "rate")]
    value = {(r.system, r.point, r.key): r.value for r in rates.itertuples()}
    ends = {(round(a.xyann[0], 9), round(a.xy[0], 9)) for a in arrows}
    assert (round(value["vae_6", "6", "kl"], 9), round(value["vae_6", "6", "coded"], 9)) in ends
    assert (
        round(value["rvq", "12", "nominal"], 9), round(value["rvq", "12", "entropy"], 9)
    ) in ends  # fmt: skip
    level = [a for a in arrows if a.xyann[1] == a.xy[1]]
    assert len(level) == 6  # an entropy coder changes no sample, a quantized latent does
    assert {"kl → coded", "nominal → entropy"} <= set(legend(figure))
    assert "entropy" in axes.get_xlabel()
    low, _ = axes.get_xlim()
    assert low < min(a.xy[0] for a in arrows)
    assert not [t for t in draw(few(aggregates, "rvq"), "speech", "stoi").axes[0].texts
                if getattr(t, "arrow_patch", None) is not None]  # fmt: skip


def test_of_several_streams_a_figure_draws_one_and_names_it(aggregates: pd.DataFrame) -> None:
    some = few(aggregates, "vae_6")
    stream = some[some["variant"] == "coded"].assign(variant="coded_trellis")
    both = pd.concat([stream, some], ignore_index=True)
    figure = draw(both, "speech", "stoi", ARROWS)
    shown = [name for name in legend(figure) if "coded" in name and "→" not in name]
    assert len(shown) == 1
    assert shown[0].endswith("(coded)")  # first of those that the manifest does not order
    (axes,) = figure.axes
    assert sum(getattr(t, "arrow_patch", None) is not None for t in axes.texts) == 1


def test_a_stream_is_named_by_its_variant() -> None:
    line = pd.DataFrame({"rate_point": [True], "rate_kind": ["coded"]})
    for own_rate, name in ((True, "VAE (coded_trellis)"), (False, "VAE (coded)")):
        found = curve_label("VAE", "coded_trellis", line, several=True, own_rate=own_rate)
        assert found == name
    assert curve_label("VAE", "coded_trellis", line, several=False, own_rate=True) == "VAE"


def test_arrows_that_do_not_exist_are_said(aggregates: pd.DataFrame, tmp_path: Path) -> None:
    some = few(aggregates, "opus")
    some = some[(some["domain"] != "speech") & (some["key"] != "si_sdr")]
    config = ReportConfig(arrows=True, formats=("png",))
    _, notes = write_figures(tmp_path, points=some, manifest={}, config=config)
    assert notes == ["no arrows: nothing has both rates of kl and coded, or of nominal and entropy"]
