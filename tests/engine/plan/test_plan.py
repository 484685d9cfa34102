"""What a plan makes of passes, and what becomes of rows when a spec changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_runs import fake, make_clips, retired, rows, run
from peak_pass import HIGHEST, PEAK, SAMPLES, ArrayPass, PeakPass

from rdbench.engine.measure.passes import Pass
from rdbench.engine.run import _Run
from rdbench.store.features import read_features
from rdbench.store.reader import read_manifest
from rdbench.store.status import run_status
from rdbench.store.validate import validate_run

SYSTEMS = ({"codec": "identity"}, fake("Quantizer"))
STEPS = 3


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("planned"), ["a", "b"])


def add(monkeypatch: pytest.MonkeyPatch, one: Pass) -> None:
    """Gives runs one more pass."""
    passes = _Run._passes

    def more(self: _Run, *arguments: Any) -> list[Pass]:
        return [*passes(self, *arguments), one]

    monkeypatch.setattr(_Run, "_passes", more)


@pytest.fixture
def with_peaks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Runs have the pass of peaks, until it is taken away with `undo`."""
    add(monkeypatch, PeakPass())
    return monkeypatch


def test_a_pass_is_one_module_and_all_that_follows_from_a_plan_knows_it(
    clips: Path, tmp_path: Path, with_peaks: pytest.MonkeyPatch
) -> None:
    assert run(clips, tmp_path, *SYSTEMS).failed == 0
    found = rows(tmp_path)
    peaks, highest = found[found["key"] == PEAK.key], found[found["key"] == HIGHEST.key]
    assert len(peaks) == 2 * STEPS
    assert peaks["value"].between(0.2, 1).all()
    assert set(highest["clip"]) == {""}
    of_clips = peaks.groupby(["system", "point"])["value"].max()
    assert highest.set_index(["system", "point"])["value"].equals(of_clips)

    planned = read_manifest(tmp_path)["plan"]
    assert sum(["metric", "peak", ""] in entry["each"] for entry in planned) == STEPS
    assert sum(["metric", "highest_peak", ""] in entry["whole"] for entry in planned) == STEPS
    assert run_status(tmp_path).counts.missing == 0
    assert run_status(tmp_path).counts.asked == len(found)
    assert validate_run(tmp_path).problems == ()
    assert run(clips, tmp_path, *SYSTEMS).written == 0
    assert not (tmp_path / "scratch").exists()

    with_peaks.undo()
    assert run(clips, tmp_path, *SYSTEMS).written == 0
    assert retired(tmp_path) == len(peaks) + len(highest)
    assert not rows(tmp_path)["key"].isin([PEAK.key, HIGHEST.key]).any()
    assert run_status(tmp_path).counts.asked == len(found) - len(peaks) - len(highest)
    assert validate_run(tmp_path).problems == ()


def test_a_clip_that_is_added_writes_its_own_rows_and_those_of_sets_alone(
    clips: Path, tmp_path: Path, with_peaks: pytest.MonkeyPatch
) -> None:
    one = make_clips(tmp_path / "one", ["a"])
    run(one, tmp_path / "run", *SYSTEMS)
    summary = run(clips, tmp_path / "run", *SYSTEMS)
    new = rows(tmp_path / "run", clip="b.wav")
    assert summary.written == len(new) + STEPS  # what belonged to one clip belongs to two
    assert len(rows(tmp_path / "run", key="highest_peak")) == STEPS


def test_an_array_that_cannot_be_kept_fails_and_the_run_goes_on(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype, kept in (("float16", 0), ("float32", 2 * STEPS)):
        with monkeypatch.context() as patch:
            add(patch, ArrayPass(dtype))
            run(clips, tmp_path, *SYSTEMS)
        assert len(read_features(tmp_path, SAMPLES)) == kept
        assert (rows(tmp_path)["status"] == "ok").all()
