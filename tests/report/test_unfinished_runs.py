"""A run that was interrupted says so wherever its numbers are shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.store.schema import Kind, Row
from rdbench.store.status import run_status
from rdbench.store.writer import RunWriter
from rdbench.types import Status

CLIPS = tuple(f"c{i:02d}.wav" for i in range(12))
SYSTEMS = ("opus", "mp3")


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a run of two systems and twelve clips, the first of which were measured."""

    def written(count: int) -> Path:
        folder = tmp_path / f"run{count}"
        with RunWriter(folder) as writer:
            writer.append(rows(CLIPS[:count]))
            writer.write_manifest(manifest())
        return folder

    return written


def rows(clips: tuple[str, ...]) -> list[Row]:
    found = []
    for n, clip in enumerate(clips):
        for system in SYSTEMS:
            here: dict[str, Any] = {
                "system": system, "curve": system, "point": "12", "variant": "codes", "clip": clip,
                "domain": "speech", "group": "", "seconds": 1.0, "status": Status.OK, "reason": "",
            }  # fmt: skip
            found += [
                Row(**here, unit_key=f"r{system}{n}", kind=Kind.RATE, key="payload",
                    value=12000.0 + n, unit="bit", backend=""),
                Row(**here, unit_key=f"m{system}{n}", kind=Kind.METRIC, key="si_sdr",
                    value=5.0 + n, unit="dB", backend="torch"),
            ]  # fmt: skip
    return found


def manifest() -> dict[str, Any]:
    entry = {"point": "12", "variant": "codes", "domain": "speech",
             "each": [["rate", "payload", ""], ["metric", "si_sdr", ""]], "whole": []}  # fmt: skip
    return {
        "name": "short",
        "finished": None,
        "plan": [{"system": system, **entry} for system in SYSTEMS],
        "systems": {name: {"curve": name, "headline": "payload"} for name in SYSTEMS},
        "metrics": {"si_sdr": {"name": "SI-SDR", "unit": "dB", "direction": "higher"}},
        "corpus": {"name": "a corpus", "clips": [{"name": c, "domain": "speech"} for c in CLIPS]},
    }


def test_tables_count_the_clips_that_were_asked_for(
    make: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = make(3)
    assert run_status(folder).counts.missing == 36
    config = tmp_path / "report.yaml"
    # What a report hides is not missing.
    config.write_text("formats: [png]\nsystems: {mp3: {hide: true}}\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["report", str(folder), "--config", str(config)])
    assert done.exit_code == 0, done.output
    sentence = "This run is not finished: 36 of the 48 rows that it was asked for are missing"
    assert sentence in done.output
    assert "12 clips, 3 of them scored" in done.output
    page = " ".join((folder / "table.md").read_text(encoding="utf-8").split())
    assert sentence in page
    assert "3/12" in page
    tex = (folder / "tables" / "points_speech.tex").read_text(encoding="utf-8")
    assert "3/12" in tex


def test_the_page_says_it_too(make: Callable[[int], Path], tmp_path: Path) -> None:
    from rdbench.report.html.write import write_html

    short, whole = (
        write_html(make(count), tmp_path / f"page{count}")[0].read_text(encoding="utf-8")
        for count in (3, 12)
    )
    assert "This run is not finished: 36 of the 48 rows" in short
    assert "not finished" not in whole


def test_a_whole_run_is_not_said_to_be_unfinished(make: Callable[[int], Path]) -> None:
    folder = make(12)
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    assert "not finished" not in done.output + (folder / "table.md").read_text(encoding="utf-8")
    assert "/12" not in (folder / "table.md").read_text(encoding="utf-8")
