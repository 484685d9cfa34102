"""The files of all figures, for whole, partial and hostile runs."""

from __future__ import annotations

from pathlib import Path

import make_run
import pandas as pd
import pytest
from drawing import LEGEND, PNG, legend, lines
from hostile_run import hostile

from rdbench.analysis.aggregate import points
from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.panel import find_panels
from rdbench.report.figures.rate_quality import draw_metric
from rdbench.report.figures.style import (
    Look,
    card_styles,
    figure_style,
    system_colours,
)
from rdbench.report.figures.write import write_figures


def without_headline() -> tuple[pd.DataFrame, dict]:
    """The run with VAEs that have a rate for their coded latent alone."""
    frame = make_run.make_frame()
    vae = frame["system"].str.startswith("vae_")
    frame = frame[~vae | (frame["variant"] != "sample")]
    frame = frame[(frame["kind"] != "rate") | (frame["key"] != "kl")]
    manifest = make_run.make_manifest()
    for name, card in manifest["systems"].items():
        if name.startswith("vae_"):
            card["headline"] = None
    return frame, manifest


def test_every_figure_is_written_and_pdf_embeds_its_fonts(
    aggregates: pd.DataFrame, tmp_path: Path
) -> None:
    some = aggregates[aggregates["key"] != "si_sdr"]
    some = some[some["domain"] != "speech"]
    written, notes = write_figures(tmp_path, points=some, manifest=make_run.make_manifest())
    assert notes == []
    names = sorted(str(path.relative_to(tmp_path)) for path in written)
    stems = ["cost_music", "music_mel_dac_16k", "music_visqol_audio", "overview_music"]
    assert names == sorted(f"figures/{s}.{k}" for s in stems for k in ("png", "pdf", "svg"))
    pdf = (tmp_path / "figures/music_visqol_audio.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    svg = (tmp_path / "figures/music_visqol_audio.svg").read_bytes()
    assert b"<text" not in svg  # glyphs are outlines
    again, _ = write_figures(
        tmp_path / "again", points=some, manifest=make_run.make_manifest(),
        config=ReportConfig(formats=("pdf", "svg")),
    )  # fmt: skip
    assert (tmp_path / "again/figures/music_visqol_audio.pdf").read_bytes() == pdf
    assert (tmp_path / "again/figures/music_visqol_audio.svg").read_bytes() == svg
    assert len(again) == 8


def test_matplotlib_settings_are_left_as_they_were(
    aggregates: pd.DataFrame, tmp_path: Path
) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    only = aggregates[(aggregates["system"] == "opus") & (aggregates["domain"] == "music")]
    write_figures(tmp_path, points=only, manifest={}, config=PNG)
    assert dict(matplotlib.rcParams) == before


def test_hostile_names_are_drawn_as_text_and_stay_in_the_folder(tmp_path: Path) -> None:
    frame, manifest = hostile()
    frame = frame[frame["domain"] != "speech"]
    written, _ = write_figures(tmp_path, points=points(frame), manifest=manifest, config=PNG)
    assert len(written) == 5
    for path in tmp_path.rglob("*"):
        assert path.resolve().is_relative_to(tmp_path)
    assert all(path.parent == tmp_path / "figures" for path in written)
    assert all(len(path.name) < 120 for path in written)


def test_a_run_with_nothing_to_draw_has_no_figure(tmp_path: Path) -> None:
    frame = make_run.make_frame()
    frame = frame[frame["system"] == "opus"].head(20).copy()
    frame[["value", "status", "reason"]] = [float("nan"), "undefined", "silent"]
    written, notes = write_figures(tmp_path, points=points(frame), manifest={})
    assert written == []
    assert notes[-1] == "no figures: no metric has a value"
    assert "no figure of pesq_wb on speech: no value" in notes


@pytest.mark.parametrize("systems", [["identity", "lowpass_3500"], ["rvq_6"]])
def test_anchors_alone_and_a_single_point_are_figures_too(
    aggregates: pd.DataFrame, systems: list[str], tmp_path: Path
) -> None:
    some = aggregates[aggregates["system"].isin(systems) & (aggregates["key"] != "si_sdr")]
    some = some[some["domain"] == "music"]
    written, _ = write_figures(tmp_path, points=some, manifest=make_run.make_manifest(), config=PNG)
    assert len(written) >= 3
    assert all(path.stat().st_size > 5000 for path in written)


def test_a_system_with_streams_and_no_headline_is_a_curve(tmp_path: Path) -> None:
    frame, manifest = without_headline()
    found = points(frame)
    card = describe(found, manifest)
    assert "VAE" in card.curves
    assert "identity" not in card.curves
    assert system_colours(card)["vae_6"] == card_styles(card)["VAE"].colour
    panels, _ = find_panels(found, card, LEGEND)
    panel = next(p for p in panels if p.domain == "speech" and p.name == "stoi")
    with figure_style():
        figure = draw_metric(panel, Look(card, card_styles(card), LEGEND))
    drawn = lines(figure.axes[0])
    assert len(drawn["VAE/coded"].get_xdata()) == 5
    assert "VAE (coded)" in legend(figure)
    # The mean has no rate at all: a line, and not called what the curve is called.
    assert any(gid.startswith("anchor/VAE 6, mean") for gid in drawn)
    files, notes = write_figures(tmp_path, points=found, manifest=manifest, config=PNG)
    assert (tmp_path / "figures" / "speech_stoi.png") in files
    assert notes == []
