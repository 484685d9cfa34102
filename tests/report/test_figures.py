"""Figures: the right artists with the right labels, for whole, partial and hostile runs."""

from __future__ import annotations

import itertools
from pathlib import Path

import make_run
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from test_tables import hostile

from rdbench.analysis.aggregate import points
from rdbench.report.config import ReportConfig
from rdbench.report.describe import describe
from rdbench.report.figures.rate_quality import (
    Painter,
    Panel,
    draw_metric,
    draw_overview,
    find_panels,
    write_figures,
)
from rdbench.report.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    card_styles,
    colours,
    curve_styles,
    figure_style,
    system_colours,
)


@pytest.fixture(scope="module")
def aggregates() -> pd.DataFrame:
    return points(make_run.make_frame(), resamples=200)


LEGEND = ReportConfig(labels="legend")
PNG = ReportConfig(formats=("png",))


def prepared(
    aggregates: pd.DataFrame, domain: str, config: ReportConfig = LEGEND
) -> tuple[dict[str, Panel], Painter]:
    card = describe(aggregates, make_run.make_manifest())
    panels, _ = find_panels(aggregates, card, config)
    inside = {panel.name: panel for panel in panels if panel.domain == domain}
    return inside, Painter(card, card_styles(card), config)


def draw(aggregates: pd.DataFrame, domain: str, key: str, config: ReportConfig = LEGEND) -> Figure:
    panels, painter = prepared(aggregates, domain, config)
    with figure_style(config.style, config.font):
        return draw_metric(panels[key], painter)


def lines(axes: Axes) -> dict[str, object]:
    return {line.get_gid(): line for line in axes.get_lines() if line.get_gid()}


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_axes_say_what_they_measure_and_which_way_is_better(aggregates: pd.DataFrame) -> None:
    (axes,) = draw(aggregates, "speech", "pesq_wb").axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "bitrate (kbps, log), payload / nominal / kl / coded"
    assert axes.get_ylabel().replace("\xa0", " ") == "PESQ-WB (MOS-LQO) ↑ better"
    (axes,) = draw(aggregates, "music", "mel_dac_16k").axes
    assert axes.get_ylabel().replace("\xa0", " ").endswith("↓ better")


def test_ticks_are_plain_numbers(aggregates: pd.DataFrame) -> None:
    figure = draw(aggregates, "speech", "pesq_wb")
    with figure_style():
        figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    shown = [t.get_text() for t in axes.get_xticklabels() if low <= t.get_position()[0] <= high]
    assert shown == ["2", "5", "10", "20", "50"]


def test_legend_names_the_kind_of_each_curve_and_what_is_no_rate_point(
    aggregates: pd.DataFrame,
) -> None:
    named = legend(draw(aggregates, "speech", "pesq_wb"))
    # Two columns, read row by row.
    assert [*named[::4], *named[1::4], *named[2::4], *named[3::4]][:2] == [
        "Opus (payload)", "MP3 (payload)",
    ]  # fmt: skip
    assert sorted(named) == sorted([
        "Opus (payload)", "MP3 (payload)", "Lyra v2 (nominal)", "VAE (kl)", "VAE (coded)",
        "VAE, mean (not a rate point)", "RVQ nested (nominal)", "RVQ 6 kbps only (nominal)",
    ])  # fmt: skip


def test_one_kind_stands_on_the_axis_alone(aggregates: pd.DataFrame) -> None:
    only = aggregates[aggregates["system"].isin(["opus", "mp3", "identity"])]
    figure = draw(only, "speech", "stoi")
    assert figure.axes[0].get_xlabel() == "bitrate (kbps, log), payload"
    assert legend(figure) == ["Opus", "MP3"]
    container = draw(only, "speech", "stoi", ReportConfig(labels="legend", rate="container"))
    assert container.axes[0].get_xlabel() == "bitrate (kbps, log), container"


def test_points_are_joined_in_order_of_measured_rate(aggregates: pd.DataFrame) -> None:
    shuffled = aggregates.sample(frac=1, random_state=3)
    drawn = lines(draw(shuffled, "speech", "pesq_wb").axes[0])
    rates = drawn["Opus/codes"].get_xdata()
    assert len(rates) == 7
    assert (np.diff(rates) > 0).all()
    vae = drawn["VAE/sample"]
    assert len(vae.get_xdata()) == 5
    # Measured, 6 % above the target that the point is named after.
    assert vae.get_xdata()[2] == pytest.approx(6 * 1.06, rel=0.03)


def test_the_mean_is_hollow_in_the_colour_of_its_curve(aggregates: pd.DataFrame) -> None:
    drawn = lines(draw(aggregates, "speech", "pesq_wb").axes[0])
    sample, mean = drawn["VAE/sample"], drawn["VAE/mean"]
    assert mean.get_color() == sample.get_color()
    assert mean.get_markerfacecolor() == "white" != sample.get_markerfacecolor()
    assert mean.get_linestyle() != sample.get_linestyle() or mean.get_linewidth() < 1


def test_intervals_are_those_of_the_table(aggregates: pd.DataFrame) -> None:
    figure = draw(aggregates[aggregates["system"] == "opus"], "music", "visqol_audio")
    (band,) = [c for c in figure.axes[0].collections if c.get_gid() == "band"]
    rows = aggregates[
        (aggregates["system"] == "opus")
        & (aggregates["domain"] == "music")
        & (aggregates["key"] == "visqol_audio")
    ]
    drawn = set(np.round(band.get_paths()[0].vertices[:, 1], 9))
    assert drawn == set(np.round([*rows["low"], *rows["high"]], 9))


def test_a_point_that_stands_alone_has_bars(aggregates: pd.DataFrame) -> None:
    figure = draw(aggregates[aggregates["system"] == "rvq_6"], "music", "visqol_audio")
    (bars,) = figure.axes[0].containers
    ((low, high),) = [[end[1] for end in s] for s in bars.lines[2][0].get_segments()]
    row = aggregates[
        (aggregates["system"] == "rvq_6")
        & (aggregates["domain"] == "music")
        & (aggregates["key"] == "visqol_audio")
    ].iloc[0]
    assert (low, high) == pytest.approx((row["low"], row["high"]), rel=1e-12)


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
        figure = draw_metric(panels[0], Painter(card, card_styles(card), LEGEND))
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_the_heading_counts_clips_and_what_is_missing(aggregates: pd.DataFrame) -> None:
    (axes,) = draw(aggregates, "speech", "stoi").axes
    heading = axes.get_title(loc="left")
    assert "18 clips in 9 groups" in heading
    assert "MP3 16: 17/18" in heading
    (axes,) = draw(aggregates[aggregates["system"] == "opus"], "speech", "stoi").axes
    assert "/18" not in axes.get_title(loc="left")


def test_overview_has_every_metric_and_one_legend_with_the_anchors(
    aggregates: pd.DataFrame,
) -> None:
    panels, painter = prepared(aggregates, "speech")
    with figure_style():
        figure = draw_overview(list(panels.values()), painter)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [t.split(" ")[0] for t in titles] == ["PESQ-WB", "STOI", "ViSQOL", "SI-SDR", "mel"]
    assert len(figure.legends) == 1
    assert {"identity", "low-pass 3.5 kHz", "low-pass 7 kHz"} <= set(legend(figure))
    assert "off the scale: SI-SDR: identity 100" in figure.get_suptitle().replace("\n", " ")


def test_styles_are_stable_and_never_repeat() -> None:
    names = [f"curve {i}" for i in range(300)]
    styles = curve_styles(names)
    assert len(set(styles.values())) == 300
    assert styles["curve 1"] == curve_styles(names[:2])["curve 1"]
    assert len(set(MARKERS[:10])) == 10
    assert "#F0E442" not in COLOURS  # yellow on white
    assert len(DASHES) > 3


def test_a_colour_per_system_is_the_same_in_every_figure(aggregates: pd.DataFrame) -> None:
    card = describe(aggregates, make_run.make_manifest())
    found = system_colours(card)
    assert found["opus"] == colours(card.curves)["Opus"] == COLOURS[0]
    assert found["vae_6"] == found["vae_24"]  # one curve
    assert found["identity"] == found["lowpass_3500"]
    for key in ("pesq_wb", "si_sdr"):
        drawn = lines(draw(aggregates, "speech", key).axes[0])
        assert drawn["MP3/codes"].get_color() == found["mp3"]


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
    written, _ = write_figures(
        tmp_path, points=points(frame, resamples=50), manifest=manifest, config=PNG
    )
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


def test_a_system_with_streams_and_no_headline_is_a_curve(tmp_path: Path) -> None:
    frame, manifest = without_headline()
    found = points(frame, resamples=20)
    card = describe(found, manifest)
    assert "VAE" in card.curves
    assert "identity" not in card.curves
    assert system_colours(card)["vae_6"] == card_styles(card)["VAE"].colour
    panels, _ = find_panels(found, card, LEGEND)
    panel = next(p for p in panels if p.domain == "speech" and p.name == "stoi")
    with figure_style():
        figure = draw_metric(panel, Painter(card, card_styles(card), LEGEND))
    drawn = lines(figure.axes[0])
    assert len(drawn["VAE/coded"].get_xdata()) == 5
    assert "VAE (coded)" in legend(figure)
    # The mean has no rate at all: a line, and not called what the curve is called.
    assert any(gid.startswith("anchor/VAE 6, mean") for gid in drawn)
    files, notes = write_figures(tmp_path, points=found, manifest=manifest, config=PNG)
    assert (tmp_path / "figures" / "speech_stoi.png") in files
    assert notes == []
