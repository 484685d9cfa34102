"""Rate–quality figures: the right artists with the right labels."""

from __future__ import annotations

import make_run
import numpy as np
import pandas as pd
import pytest
from drawing import draw, few, legend, lines, prepared

from rdbench.analysis.aggregate import points
from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig, SystemLook, configured
from rdbench.report.figures.panel import find_panels
from rdbench.report.figures.rate_quality import (
    domain_pages,
    draw_domains,
    draw_metric,
    draw_overview,
)
from rdbench.report.figures.style import (
    MEAN_DASH,
    Look,
    card_styles,
    figure_style,
)


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


def test_the_mean_is_never_joined_to_rate_points(aggregates: pd.DataFrame) -> None:
    drawn = lines(draw(few(aggregates, "vae_3", "vae_6"), "speech", "stoi").axes[0])
    assert set(drawn) >= {"VAE/sample", "VAE/coded", "VAE/mean"}
    assert len(drawn["VAE/mean"].get_xdata()) == 2
    assert drawn["VAE/mean"].get_markerfacecolor() == "white"
    assert drawn["VAE/mean"]._unscaled_dash_pattern[1] == MEAN_DASH[1]


def test_all_domains_share_a_figure_a_row_per_metric(aggregates: pd.DataFrame) -> None:
    some = aggregates[~aggregates["key"].isin(["si_sdr", "mel_dac_16k"])]
    speech, painter = prepared(some, "speech")
    music, _ = prepared(some, "music")
    (page,) = domain_pages([*speech.values(), *music.values()], painter)
    assert [[p.name if p else None for p in row] for row in page] == [
        ["visqol_audio", "visqol_audio"], ["pesq_wb", None], ["stoi", None],
    ]  # fmt: skip
    with figure_style():
        figure = draw_domains(page, painter)
    assert len(figure.axes) == 4
    assert len(figure.legends) == 1
    assert figure.get_figheight() <= 9.5
    assert figure.get_figwidth() == 6.9


def test_a_renamed_domain_and_metric_are_on_the_figure() -> None:
    from rdbench.analysis.runs import Run

    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "mp3"])]
    config = ReportConfig(
        names={"speech": "VCTK", "stoi": "Intelligibility"}, metrics=("stoi",),
        systems={"opus": SystemLook(label="Opus 1.5")}, labels="legend",
    )  # fmt: skip
    shown = configured(Run("r", frame, make_run.make_manifest()), config)

    table = points(shown.rows)
    card = describe(table, shown.manifest)
    panels, _ = find_panels(table, card, config)
    with figure_style():
        figure = draw_metric(panels[0], Look(card, card_styles(card), config))
    assert figure.axes[0].get_title(loc="left").startswith("VCTK, 18 clips")
    assert figure.axes[0].get_ylabel().startswith("Intelligibility")
    assert legend(figure) == ["Opus 1.5", "MP3"]
