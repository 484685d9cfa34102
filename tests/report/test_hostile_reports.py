"""Whole reports of runs with hostile names, and of runs of which little was measured."""

from __future__ import annotations

import re
from pathlib import Path

import hostile_run
import make_run
import pandas as pd
import pytest
from html_page import Page

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.runs import Run
from rdbench.report.config import ReportConfig, SystemLook, configured
from rdbench.report.figures.write import write_figures
from rdbench.report.tables.run_tables import run_tables
from rdbench.report.tables.write import write_tables
from rdbench.text import cell

SVG = ReportConfig(formats=("svg",), data=True, arrows=True, legend="family", style="screen")


def report(run: Run, folder: Path, config: ReportConfig = SVG) -> list[str]:
    """Everything of `run`, cheaply; returns what the report says is missing."""
    shown = configured(run, config)
    points = run_points(shown)
    write_tables(folder, run_tables(points, shown.manifest, run=shown))
    _, notes = write_figures(folder, points=points, manifest=shown.manifest, config=config)
    return notes


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside") / "report"
    report(hostile_run.hostile_names(), folder)
    return folder


def test_no_name_leaves_the_folder(hostile: Path) -> None:
    files = [path for path in hostile.parent.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert path.resolve().is_relative_to(hostile)
        assert re.fullmatch(r"[a-z0-9_.-]+", path.name)
        assert len(path.name) < 120


def test_no_name_is_markup_in_a_page(hostile: Path) -> None:
    page = Page(read(hostile, "tables/tables.html"))
    allowed = {
        "html", "head", "meta", "title", "style", "body", "h1", "section", "h2", "div", "table",
        "caption", "thead", "tbody", "tr", "th", "td", "span", "strong", "p",
    }  # fmt: skip
    assert {tag for tag, _ in page.tags} <= allowed
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not [v for v in attributes.values() if v and "javascript" in v]


def test_no_name_is_markup_in_markdown(hostile: Path) -> None:
    text = read(hostile, "table.md")
    assert not re.search(r"(?<!\\)<(img|b>|script)", text)
    assert "\x1b" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) > 3


def test_names_are_text_in_a_figure(hostile: Path) -> None:
    from xml.etree import ElementTree

    drawn = [path for path in (hostile / "figures").glob("*.svg") if "stoi" in path.name]
    assert drawn
    tree = ElementTree.parse(drawn[0])
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert not {"script", "img", "a", "foreignObject", "b"} & tags
    texts = ["".join(e.itertext()).strip() for e in tree.iter() if e.tag.endswith("}text")]
    assert any(text.startswith(r"100% & a_b # $x^2$ \input") for text in texts)
    assert any("javascript:alert(1)" in text for text in texts)


def test_names_that_are_alike_when_cut_stay_apart(tmp_path: Path) -> None:
    frame = make_run.make_frame()
    frame = frame[(frame["domain"] == "music") & frame["system"].isin(["opus", "mp3"])]
    long = {"opus": "a" * 300, "mp3": "a" * 299 + "b"}
    frame = frame.assign(system=frame["system"].map(long), curve=frame["system"].map(long))
    manifest = make_run.make_manifest()
    manifest["systems"] = {name: {"curve": name, "headline": "payload"} for name in long.values()}
    config = ReportConfig(formats=("svg",), style="screen", labels="legend")
    report(Run("alike", frame, manifest), tmp_path, config)
    text = read(tmp_path, "figures/overview_music.svg")
    assert text.count("a" * 20) >= 2
    assert "#2" in text


def test_numbers_of_a_hostile_run_are_read_back(hostile: Path) -> None:
    table = pd.read_csv(hostile / "table.csv", dtype=str, keep_default_na=False)
    named = {cell(name) for name in hostile_run.NAMES if "\n" not in name}
    assert named <= set(table["system"])


def test_one_point_per_system_is_a_report(tmp_path: Path) -> None:
    report(hostile_run.little("one point"), tmp_path)
    assert (tmp_path / "figures" / "overview_speech.svg").is_file()
    text = read(tmp_path, "table.md")
    assert "no BD-rate: it needs two curves, one of them with three points" in text
    assert not (tmp_path / "tables" / "bd_rate_speech.tex").exists()


def test_one_clip_has_no_interval_and_nothing_in_bold(tmp_path: Path) -> None:
    report(hostile_run.little("one clip"), tmp_path)
    page = Page(read(tmp_path, "tables/tables.html"))
    assert page.strong == []
    text = read(tmp_path, "table.md")
    assert "1 clip" in text
    scores = text.partition("### Scores")[2].partition("###")[0]
    assert "[" not in scores
    assert "2.5" in scores or "3." in scores


def test_failed_units_are_counted_and_explained(tmp_path: Path) -> None:
    report(hostile_run.little("failed"), tmp_path)
    text = read(tmp_path, "table.md")
    assert "### Clips without a value" in text
    assert "it is failed" in text
    assert "– 0/18" in text
    opus = [line for line in text.splitlines() if line.startswith("| Opus ")]
    assert opus
    assert "0/18" in read(tmp_path, "tables/points_speech.tex")


def test_only_undefined_scores_leave_tables_and_say_what_is_missing(tmp_path: Path) -> None:
    notes = report(hostile_run.little("undefined"), tmp_path)
    assert notes[-1] == "no figures: no metric has a value"
    assert not list((tmp_path / "figures").glob("*.svg"))
    text = read(tmp_path, "table.md")
    assert "it is undefined" in text
    assert "nan" not in text.lower().replace("nominal", "")


def test_a_run_of_which_all_systems_are_hidden_is_an_empty_report(tmp_path: Path) -> None:
    run = hostile_run.little("one clip")
    hide = {name: SystemLook(hide=True) for name in run.rows["system"].unique()}
    notes = report(run, tmp_path, ReportConfig(systems=hide))
    assert notes == ["no figures: no metric has a value"]
    assert (tmp_path / "table.md").is_file()
