"""A run that goes on under other versions says of every row with which it was measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from engine_runs import everything, fake, make_clips, rows, run

from rdbench.engine import environment
from rdbench.engine.executors.processes import Processes
from rdbench.engine.measure.shard import Shard
from rdbench.report.config import ReportConfig
from rdbench.report.write import write_all
from rdbench.store.manifest import MANIFEST_NAME, read_manifest
from rdbench.store.validate import validate_run
from rdbench.store.writer import RunWriter


def test_rows_keep_the_versions_that_they_were_measured_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, folder = make_clips(tmp_path / "clips", ["a"]), tmp_path / "run"
    run(clips, folder, fake("Quantizer"))
    before = everything(folder)
    ours = environment.versions()
    monkeypatch.setattr(environment, "versions", lambda: ours | {"torch": "9.9.9"})
    make_clips(clips, ["b"])
    run(clips, folder, fake("Quantizer"))
    found = rows(folder)
    first, second = (set(found.loc[found["clip"] == c, "provenance"]) for c in ("a.wav", "b.wav"))
    assert len(first) == len(second) == 1
    assert first != second
    assert everything(folder).loc[before.index].equals(before)
    manifest = read_manifest(folder)
    told = {name: one["versions"]["torch"] for name, one in manifest["provenance"].items()}
    assert told == {min(first): ours["torch"], min(second): "9.9.9"}
    assert manifest["versions"]["torch"] == "9.9.9"
    assert validate_run(folder).notes == ()
    text, _ = write_all(folder, config=ReportConfig(formats=()))
    count = len(found) // 2
    sentence = f"{count} with torch {ours['torch']}; {count} with torch 9.9.9"
    assert sentence in " ".join(text.split())
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert sentence in " ".join(table.replace("\\", "").split())


class Elsewhere(Processes):
    """Processes whose results come with the provenance of another machine."""

    def run(self, shards: Iterable[Shard], intake: Any, *, at_once: int | None = None) -> None:
        take, told = intake.take, {"processor": "another", "versions": {}}
        intake.take = lambda results: take(results, provenance=("elsewhere", told))
        super().run(shards, intake, at_once=at_once)


def test_rows_that_another_machine_measured_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, folder = make_clips(tmp_path / "clips", ["a"]), tmp_path / "run"
    monkeypatch.setattr("rdbench.engine.executors.processes.Processes", Elsewhere)
    run(clips, folder, fake("Quantizer"))
    assert set(rows(folder)["provenance"]) == {"elsewhere"}
    assert read_manifest(folder)["provenance"]["elsewhere"]["processor"] == "another"
    assert read_manifest(folder)["finished"]


def test_equal_versions_are_one_and_a_lost_manifest_is_said(tmp_path: Path) -> None:
    clips, folder = make_clips(tmp_path / "clips", ["a"]), tmp_path / "run"
    run(clips, folder, fake("Quantizer"))
    make_clips(clips, ["b"])
    run(clips, folder, fake("Quantizer"))
    assert rows(folder)["provenance"].nunique() == 1
    manifest = read_manifest(folder)
    (folder / MANIFEST_NAME).unlink()
    with RunWriter(folder) as writer:
        writer.write_manifest(manifest | {"provenance": {"other": {}}})
    (note,) = validate_run(folder).notes
    assert "does not say with which versions" in note
