"""What figures show beside curves: names beside them, arrows, costs, families, the numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import make_run
import numpy as np
import pandas as pd
import pytest
from test_figures import draw, legend, lines, prepared

from rdbench.analysis.aggregate import points
from rdbench.report.config import ReportConfig, SystemLook, configured
from rdbench.report.figures.complexity import draw_complexity
from rdbench.report.figures.curve_labels import Named, name_directly
from rdbench.report.figures.files import figure_files
from rdbench.report.figures.rate_quality import (
    domain_pages,
    draw_domains,
    draw_overview,
    write_figures,
)
from rdbench.report.figures.style import MEAN_DASH, figure_style
from rdbench.types import SpecError

ARROWS = ReportConfig(arrows=True, labels="legend")


@pytest.fixture(scope="module")
def aggregates() -> pd.DataFrame:
    frame = make_run.make_frame()
    streams = frame[(frame["kind"] == "rate") & (frame["key"] == "nominal")].copy()
    streams["key"], streams["backend"] = "entropy", "static"
    streams["value"] *= 0.8
    return points(pd.concat([frame, streams], ignore_index=True), resamples=100)


def few(aggregates: pd.DataFrame, *systems: str) -> pd.DataFrame:
    return aggregates[aggregates["system"].isin(systems)]


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


def test_arrows_lead_from_a_bound_to_a_stream(aggregates: pd.DataFrame) -> None:
    figure = draw(few(aggregates, "vae_6", "rvq"), "speech", "stoi", ARROWS)
    (axes,) = figure.axes
    arrows = [t for t in axes.texts if getattr(t, "arrow_patch", None) is not None]
    assert len(arrows) == 1 + 4
    rates = aggregates[(aggregates["domain"] == "speech") & (aggregates["kind"] == "rate")]
    value = {(r.system, r.point, r.key): r.value for r in rates.itertuples()}
    ends = {(round(a.xyann[0], 9), round(a.xy[0], 9)) for a in arrows}
    assert (round(value["vae_6", "6", "kl"], 9), round(value["vae_6", "6", "coded"], 9)) in ends
    assert (
        round(value["rvq", "12", "nominal"], 9), round(value["rvq", "12", "entropy"], 9)
    ) in ends  # fmt: skip
    level = [a for a in arrows if a.xyann[1] == a.xy[1]]
    assert len(level) == 4  # an entropy coder changes no sample, a quantized latent does
    assert {"kl → coded", "nominal → entropy"} <= set(legend(figure))
    assert "entropy" in axes.get_xlabel()
    low, _ = axes.get_xlim()
    assert low < min(a.xy[0] for a in arrows)
    assert not [t for t in draw(few(aggregates, "rvq"), "speech", "stoi").axes[0].texts
                if getattr(t, "arrow_patch", None) is not None]  # fmt: skip


def test_arrows_that_do_not_exist_are_said(aggregates: pd.DataFrame, tmp_path: Path) -> None:
    some = few(aggregates, "opus")
    some = some[(some["domain"] != "speech") & (some["key"] != "si_sdr")]
    config = ReportConfig(arrows=True, formats=("png",))
    _, notes = write_figures(tmp_path, points=some, manifest={}, config=config)
    assert notes == ["no arrows: nothing has both rates of kl and coded, or of nominal and entropy"]


def test_the_mean_is_never_joined_to_rate_points(aggregates: pd.DataFrame) -> None:
    drawn = lines(draw(few(aggregates, "vae_3", "vae_6"), "speech", "stoi").axes[0])
    assert set(drawn) >= {"VAE/sample", "VAE/coded", "VAE/mean"}
    assert len(drawn["VAE/mean"].get_xdata()) == 2
    assert drawn["VAE/mean"].get_markerfacecolor() == "white"
    assert drawn["VAE/mean"]._unscaled_dash_pattern[1] == MEAN_DASH[1]


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
    free = aggregates[aggregates["kind"] != "cost"]
    assert draw_complexity(panels["stoi"], free, painter) is None


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


def test_a_legend_may_stand_in_families(aggregates: pd.DataFrame) -> None:
    panels, painter = prepared(aggregates, "speech")
    card = painter.card
    for name in card.systems:
        object.__setattr__(
            card.systems[name], "family", "models" if name[:3] in ("vae", "rvq") else "codecs"
        )
    families = type(painter)(card, painter.styles, ReportConfig(legend="family"))
    with figure_style():
        figure = draw_overview(list(panels.values()), families)
    texts = figure.legends[0].get_texts()
    bold = [t.get_text() for t in texts if t.get_fontweight() == "bold"]
    assert bold == ["codecs", "models", "anchors"]
    named = [t.get_text() for t in texts]
    assert named.index("Opus (payload)") < named.index("models") < named.index("VAE (kl)")


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
    assert roles["point"] == 7 + 1 + 1 + 4  # Opus, VAE as sample and coded, RVQ
    assert roles["not a rate point"] == 1
    assert roles["anchor"] == 1
    assert roles["arrow to"] == 1 + 4
    drawn = lines(draw(some, "music", "visqol_audio").axes[0])["Opus/codes"]
    opus = table[(table["system"] == "opus")].sort_values("kbps")
    np.testing.assert_allclose(opus["kbps"], drawn.get_xdata())
    np.testing.assert_allclose(opus["value"], drawn.get_ydata())
    assert (opus["rate_kind"] == "payload").all()


def test_styles_have_the_widths_and_types_of_their_use(
    aggregates: pd.DataFrame, tmp_path: Path
) -> None:
    some = few(aggregates, "opus", "mp3")
    paper = draw(some, "speech", "stoi", ReportConfig())
    assert paper.get_figwidth() == 3.35
    screen = draw(some, "speech", "stoi", ReportConfig(style="screen"))
    assert screen.get_figwidth() == 6.4
    assert screen.axes[0].xaxis.label.get_size() > 1.4 * paper.axes[0].xaxis.label.get_size()
    wide = draw(some, "speech", "stoi", ReportConfig.model_validate({"widths": {"one": 4.0}}))
    assert wide.get_figwidth() == 4.0
    with figure_style("screen"):
        figure_files(screen, tmp_path / "a", [], ReportConfig(formats=("svg",)))
    assert b"<text" in (tmp_path / "a.svg").read_bytes()  # can be searched


def test_fonts_are_chosen_and_embedded(aggregates: pd.DataFrame, tmp_path: Path) -> None:
    config = ReportConfig(font="serif", formats=("pdf",))
    figure = draw(few(aggregates, "opus"), "speech", "stoi", config)
    with figure_style("paper", "serif"):
        figure_files(figure, tmp_path / "a", [], config)
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"STIXGeneral" in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    lost = figure_style("paper", "No Such Font")
    with pytest.raises(SpecError, match="'No Such Font' is not installed"), lost:
        pass


def test_a_renamed_domain_and_metric_are_on_the_figure() -> None:
    from rdbench.analysis.runs import Run

    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "mp3"])]
    config = ReportConfig(
        names={"speech": "VCTK", "stoi": "Intelligibility"}, metrics=("stoi",),
        systems={"opus": SystemLook(label="Opus 1.5")}, labels="legend",
    )  # fmt: skip
    shown = configured(Run("r", frame, make_run.make_manifest()), config)
    from rdbench.report.describe import describe
    from rdbench.report.figures.rate_quality import Painter, draw_metric, find_panels
    from rdbench.report.figures.style import card_styles

    table = points(shown.rows, resamples=50)
    card = describe(table, shown.manifest)
    panels, _ = find_panels(table, card, config)
    with figure_style():
        figure = draw_metric(panels[0], Painter(card, card_styles(card), config))
    assert figure.axes[0].get_title(loc="left").startswith("VCTK, 18 clips")
    assert figure.axes[0].get_ylabel().startswith("Intelligibility")
    assert legend(figure) == ["Opus 1.5", "MP3"]
