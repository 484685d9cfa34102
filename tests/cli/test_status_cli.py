"""`rdbench status` and `rdbench validate` as a user meets them: text, JSON, exit codes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import Status, StoreError

CLIPS = [f"{number}.wav" for number in range(4)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two points on four clips, of which one row failed and one is missing."""
    folder = tmp_path / "run"
    with RunWriter(folder) as writer:
        entry = {"system": "opus", "variant": "codes", "domain": "speech", "whole": []}
        writer.write_manifest(
            {
                "name": "n",
                "finished": None,
                "corpus": {"clips": [{"name": clip, "domain": "speech"} for clip in CLIPS]},
                "plan": [
                    entry | {"point": p, "each": [["metric", "stoi", ""]]} for p in ("6", "12")
                ],
            }
        )
        for number, clip in enumerate(CLIPS[:3] + CLIPS):
            failed = number == 0
            writer.append(
                [
                    Row(
                        f"unit {number}", "opus", "opus", "6" if number < 3 else "12", "codes",
                        clip, "speech", clip, 3.0, Kind.METRIC, "stoi",
                        math.nan if failed else 0.9, "", "reference",
                        Status.FAILED if failed else Status.OK, "it broke" if failed else "",
                    )
                ]
            )  # fmt: skip
    return folder


def test_status_says_what_is_done_what_failed_and_what_is_left(run: Path) -> None:
    shown = CliRunner().invoke(app, ["status", str(run)])
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert "not running; `rdbench run` goes on where it stopped" in lines[0]
    assert lines[1] == "done: 6 of 8 planned rows, 75.0 %"
    assert lines[2] == "  opus  6 of 8, 1 failed"
    assert lines[3:5] == ["failed: 1", "  1 × it broke"]
    assert all(line.startswith("left: ") for line in lines[5:])


def test_what_is_undefined_has_its_reason_and_costs_that_do_not_apply_are_no_lack(
    run: Path,
) -> None:
    with RunWriter(run) as writer:
        for number, (kind, key, reason) in enumerate(
            [
                (Kind.METRIC, "stoi", "too short"),
                (Kind.COST, "parameters", "not a model"),
                (Kind.NOTE, "short", ""),
            ]
        ):
            status = Status.UNDEFINED if reason else Status.OK
            value = math.nan if reason else 1.0
            writer.append(
                [
                    Row(
                        f"more {number}", "opus", "opus", "6", "codes", "0.wav", "speech", "0.wav",
                        3.0, kind, key, value, "", "reference", status, reason,
                    )
                ]
            )  # fmt: skip
    shown = CliRunner().invoke(app, ["status", str(run)]).output
    assert "undefined: 1\n  1 × too short" in shown
    assert "not a model" not in shown
    told = CliRunner().invoke(app, ["validate", str(run)]).output
    assert "10 rows in 1 part, 1 of them of traces, features, audio or notes" in told


def test_status_as_json(run: Path) -> None:
    told = json.loads(CliRunner().invoke(app, ["status", str(run), "--json"]).output)
    assert told["counts"] == {"ok": 6, "undefined": 0, "failed": 1, "missing": 1}
    assert told["reasons"] == [["it broke", 1]]
    assert told["planned"] is True


def test_validate_ends_with_1_and_a_line_for_each_problem(run: Path) -> None:
    shown = CliRunner().invoke(app, ["validate", str(run)])
    assert shown.exit_code == 1
    assert "1 of 8 planned rows are missing (opus 6 codes speech 3.wav metric/stoi)" in shown.output
    assert "problems found: 1; 7 rows in 1 part" in shown.output


def test_a_whole_run_validates_with_0(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["plan"][0]["each"] = []
    (run / "manifest.json").write_text(json.dumps(manifest))
    shown = CliRunner().invoke(app, ["validate", str(run)])
    assert shown.exit_code == 0
    assert "whole; 7 rows in 1 part" in shown.output
    assert CliRunner().invoke(app, ["validate", str(run), "-q"]).output == ""


@pytest.mark.parametrize("command", ["status", "validate"])
def test_what_is_no_run_is_a_users_mistake(tmp_path: Path, command: str) -> None:
    shown = CliRunner().invoke(app, [command, str(tmp_path)])
    assert isinstance(shown.exception, StoreError)  # the entry point makes it exit code 2


@pytest.mark.parametrize("name", ["speech_16k", "music_44k"])
def test_published_results_are_sound(name: str) -> None:
    folder = Path(__file__).resolve().parents[2] / "results" / name
    shown = CliRunner().invoke(app, ["validate", str(folder)])
    assert shown.exit_code == 0, shown.output


def test_status_names_clips_worth_a_look(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = [("b.wav", "speech", "silent", "it is silent")]
    noted += [(f"a{i}.wav", "speech", "clipped", "12 samples") for i in range(4)]
    frame = pd.DataFrame(noted, columns=["clip", "domain", "key", "reason"])
    monkeypatch.setattr("rdbench.report.text.status.read_notes", lambda folder: frame)
    shown = CliRunner().invoke(app, ["status", str(run)]).output.splitlines()
    assert shown[-3:] == [
        "clips worth a look:",
        "  clipped: 4 (a0.wav, a1.wav, a2.wav and 1 more)",
        "  silent: 1 (b.wav)",
    ]
    told = json.loads(CliRunner().invoke(app, ["status", str(run), "--json"]).output)
    assert told["notes"] == {"clipped": [f"a{i}.wav" for i in range(4)], "silent": ["b.wav"]}
