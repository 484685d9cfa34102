"""Colours, markers, widths and fonts."""

from __future__ import annotations

from pathlib import Path

import make_run
import pandas as pd
import pytest
from drawing import draw, few, lines

from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.style import (
    COLOURS,
    DASHES,
    MARKERS,
    colours,
    curve_styles,
    figure_style,
    system_colours,
)
from rdbench.report.figures.write import figure_files
from rdbench.types import SpecError


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
