"""Reports that are cut off: running again makes what is missing, and nothing half made stands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from injection import Injector, injected
from small_benchmark import SYSTEMS, Children, Trial, make_clips

from rdbench.analysis.listeners.ratings import FOLDER as LISTENERS
from rdbench.report.config import ReportConfig
from rdbench.report.state import NAME, stands
from rdbench.report.write import write_all
from rdbench.store.manifest import read_manifest
from rdbench.store.writer import RunWriter
from rdbench.types import StoreError

BRIEF = ReportConfig(formats=("svg",))
MEASURED = ("manifest.json", "measurements", "traces", ".lock")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], list[str]]:
    """A run with its report, the report's files, and the steps of writing it."""
    folder = tmp_path_factory.mktemp("reports")
    trial = Trial(make_clips(folder / "clips"), folder / "run", SYSTEMS, metrics=("snr",))
    assert Children().finish(trial, folder / "reports")["end"] == "finished"
    assert not stands(trial.folder)
    with injected(Injector(trial.folder)) as injector:
        write_all(trial.folder, config=BRIEF)
    return trial.folder, files_of(trial.folder), [f"{kind} {name}" for kind, name in injector.steps]


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a report."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in MEASURED
    }


Shown = tuple[Path, dict[str, bytes], list[str]]


def test_what_stands_is_noted_last_and_taken_away_first(shown: Shown) -> None:
    folder, files, steps = shown
    assert stands(folder)
    assert steps[0] == f"unlink {NAME}"
    assert steps[-2].startswith(f"replace .{NAME}.")
    assert sorted(json.loads(files[NAME])["files"]) == sorted(files.keys() - {NAME})
    assert any(name.endswith(".svg") for name in files)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.97])
def test_a_report_that_fails_somewhere_is_made_again(
    shown: Shown, tmp_path: Path, place: float
) -> None:
    """On top of an older one, whose files are all there."""
    folder, files, steps = shown
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    for name in files.keys() - {NAME}:
        (run / name).write_bytes(b"old")
    at = max(2, round(place * len(steps)))
    with pytest.raises(StoreError), injected(Injector(run, at=at, action="refuse")):
        write_all(run, config=BRIEF)
    assert not stands(run)
    write_all(run, config=BRIEF)
    assert stands(run)
    assert files_of(run) == files


@pytest.mark.parametrize("change", ["file", "rows", "manifest", "listeners", "note", "damage"])
def test_what_no_longer_fits_does_not_stand(shown: Shown, tmp_path: Path, change: str) -> None:
    folder, files, _ = shown
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    if change == "file":
        (run / next(name for name in files if name.endswith(".svg"))).unlink()
    elif change == "rows":
        (part,) = (run / "measurements").iterdir()
        part.rename(part.with_name(part.name.replace("part-", "part-1")))
    elif change == "manifest":
        with RunWriter(run) as writer:
            writer.write_manifest(read_manifest(run) | {"finished": "later"})
            assert stands(run)  # the moment that a run ended makes no other figures
            writer.write_manifest(read_manifest(run) | {"name": "another"})
    elif change == "listeners":
        (run / LISTENERS).mkdir()
        (run / LISTENERS / "mos.csv").write_text("condition,clip,listener,score\n")
    elif change == "note":
        (run / NAME).unlink()
    else:
        (run / NAME).write_text('{"files": ["table.md"], "made_from"')
    assert not stands(run)


def test_a_report_elsewhere_says_nothing_of_the_run(shown: Shown, tmp_path: Path) -> None:
    folder, _, _ = shown
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    (run / NAME).unlink()
    write_all(run, out=tmp_path / "out", config=BRIEF)
    assert not stands(run)
    assert not (tmp_path / "out" / NAME).exists()
