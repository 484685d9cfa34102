"""Costs belong to the machine that they were measured on, and stay."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from engine_runs import everything, fake, make_clips, rows, run

from rdbench.analysis.aggregate import points
from rdbench.engine.environment import machine_name
from rdbench.engine.passes.costs import UNITS, VERSION
from rdbench.engine.run import RunSummary
from rdbench.report.cards import describe
from rdbench.report.tables.costs import cost_table, timing_text
from rdbench.store.reader import read_manifest, read_rows
from rdbench.store.status import run_status
from rdbench.store.validate import validate_run

COSTS = {"clips": 1, "repeats": 1}
POINTS = 2


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("timed"), ["a", "b"])


def timed(clips: Path, folder: Path, how: str = "missing") -> RunSummary:
    return run(clips, folder, fake("Quantizer"), spec={"costs": COSTS}, costs=how)


ELSEWHERE = "Abacus, 1 core #000000"


def move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are from here on those of another machine."""
    for place in ("run", "describe"):
        monkeypatch.setattr(f"rdbench.engine.{place}.machine_name", lambda _: ELSEWHERE)


def costs(folder: Path) -> pd.DataFrame:
    return rows(folder, kind="cost")


def test_costs_count_as_written_and_are_measured_once(clips: Path, tmp_path: Path) -> None:
    summary = timed(clips, tmp_path)
    assert summary.written == len(everything(tmp_path))
    found = costs(tmp_path)
    assert len(found) == POINTS * len(UNITS)
    assert set(found["backend"]) == {machine_name("cpu")}
    assert set(found["clip"]) == set(found["domain"]) == {""}
    assert read_manifest(tmp_path)["execution"]["machine"] == machine_name("cpu")
    assert timed(clips, tmp_path).written == 0


def test_times_have_their_quartiles_and_their_protocol(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path, fake("Quantizer"), spec={"costs": {"clips": 2, "repeats": 3}})
    found = costs(tmp_path).pivot(index="point", columns="key", values="value")
    for side in ("encode_rtf", "decode_rtf"):
        assert (found[f"{side}_q1"] > 0).all()
        assert (found[f"{side}_q1"] <= found[side]).all()
        assert (found[side] <= found[f"{side}_q3"]).all()
    assert set(found["clip_length"]) == {1.0}
    manifest = read_manifest(tmp_path)
    assert manifest["costs"] == {
        "version": VERSION, "clips": 2, "batch": 1, "warm_up": 1, "repeats": 3, "threads": 1,
    }  # fmt: skip

    aggregates = points(read_rows(tmp_path))
    card = describe(aggregates, manifest)
    table = cost_table(aggregates, card, caption="")
    assert table is not None
    assert table.notes[0] == timing_text(card)
    assert "3 runs on each of 2 clips, 1 clip at a time, 1 thread, after 1 run" in table.notes[0]
    cells = {column.title: column.cells for column in table.columns}
    assert set(cells) == {"encode, real-time factor", "decode, real-time factor", "clips (s)"}
    for title, column in cells.items():
        assert all(bool(cell.interval) == ("factor" in title) for cell in column)


def test_another_number_of_repeats_is_another_measurement(clips: Path, tmp_path: Path) -> None:
    timed(clips, tmp_path)
    more = {"costs": {"clips": 1, "repeats": 2}}
    assert run(clips, tmp_path, fake("Quantizer"), spec=more).written == POINTS * len(UNITS)
    assert len(costs(tmp_path)) == POINTS * len(UNITS)


def test_costs_are_measured_again_on_request(clips: Path, tmp_path: Path) -> None:
    timed(clips, tmp_path)
    before = costs(tmp_path)
    assert timed(clips, tmp_path, "again").written == len(before)
    after = costs(tmp_path)
    assert before["unit_key"].equals(after["unit_key"])
    times = before["unit"] == "s/s"
    assert (before["value"] != after["value"])[times].any()


def test_a_start_elsewhere_that_measures_no_costs_keeps_those_that_there_are(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(clips, tmp_path)
    before = costs(tmp_path)
    for _ in ("here", "elsewhere"):
        assert timed(clips, tmp_path, "none").written == 0
        pd.testing.assert_frame_equal(before, costs(tmp_path))
        assert validate_run(tmp_path).problems == ()
        move(monkeypatch)


def test_another_machine_adds_its_costs_beside_those_that_there_are(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(clips, tmp_path)
    before = costs(tmp_path)
    move(monkeypatch)
    assert timed(clips, tmp_path).written == len(before)
    after = costs(tmp_path)
    kept = after[after["backend"] != ELSEWHERE].reset_index(drop=True)
    pd.testing.assert_frame_equal(before, kept)
    assert len(after) == 2 * len(before)
    assert read_manifest(tmp_path)["execution"]["machine"] == ELSEWHERE
    assert run_status(tmp_path).counts.missing == 0
    assert validate_run(tmp_path).problems == ()

    monkeypatch.undo()
    assert timed(clips, tmp_path).written == 0
    pd.testing.assert_frame_equal(after, costs(tmp_path))
