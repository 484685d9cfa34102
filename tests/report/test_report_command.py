"""`rdbench report` as a user runs it, and the lines about failures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.report.text.status import failures_text, reason_lines
from rdbench.types import RdbenchError

PUBLISHED = Path(__file__).parents[2] / "results" / "speech_16k"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    if not (PUBLISHED / "manifest.json").is_file():
        pytest.skip("the published run results/speech_16k is not here")
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(PUBLISHED / "manifest.json", folder)
    shutil.copytree(PUBLISHED / "measurements", folder / "measurements")
    return folder


def test_options_and_a_file_say_what_is_shown(run: Path, tmp_path: Path) -> None:
    config = tmp_path / "report.yaml"
    config.write_text(
        "metrics: [stoi]\nformats: [png]\nsystems: {opus: {label: Opus 1.5}, mp3: {hide: true}}\n"
    )
    out = tmp_path / "out"
    asked = ["--config", str(config), "--style", "screen", "--data", "--anchor", "lyra"]
    done = CliRunner().invoke(app, ["report", str(run), *asked, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "Opus 1.5" in done.output
    assert "overview_speech.png" in done.output
    assert (out / "figures" / "speech_stoi.png").is_file()
    assert not list(out.rglob("*.pdf"))
    numbers = pd.read_csv(out / "figures" / "data" / "speech_stoi.csv")
    shown = set(numbers["system"])
    assert {"opus", "aac", "lyra", "vae_6k", "rvq_6k", "identity", "lowpass"} <= shown
    assert "mp3" not in shown
    assert "BD-rate against Lyra v2" in (out / "table.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in run.iterdir()) == ["manifest.json", "measurements"]


def test_a_wrong_anchor_is_one_sentence(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(run), "--anchor", "opsu", "-o", str(tmp_path)])
    assert isinstance(done.exception, RdbenchError)
    assert "did you mean 'opus'" in str(done.exception)


def test_failures_are_counted_by_reason(run: Path) -> None:
    assert failures_text(run, 0).splitlines() == [f"rdbench: 0 measurements failed in {run}:"]


def test_what_a_codec_said_does_not_steer_the_terminal() -> None:
    (line,) = reason_lines([("broken \x1b[2J\nsecond line", 1200)])
    assert "\x1b" not in line
    assert "\n" not in line
    assert line.startswith("  1,200 × broken")
    assert reason_lines([(f"r{i}", 1) for i in range(12)])[-1] == "  … and 2 more reasons"
