"""A folder is whole, or every thing that is wrong with it is named."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from store_rows import failed, row

from rdbench.store.lock import session_of
from rdbench.store.parts import list_parts, schema, whole, write_part
from rdbench.store.schema import Kind, Row
from rdbench.store.status import Counts, run_status
from rdbench.store.validate import validate_run
from rdbench.store.writer import RunWriter
from rdbench.types import Status, StoreError

CLIPS = ("speech/a.wav", "speech/b.wav")
PLAN = [
    {
        "system": "opus", "point": "12", "variant": "codes", "domain": "speech",
        "each": [["metric", "pesq_wb", ""], ["rate", "entropy", "order-0"]], "whole": [],
    },
    {
        "system": "opus", "point": "12", "variant": "codes", "domain": "",
        "each": [], "whole": [["cost", "encode_rtf", ""]],
    },
]  # fmt: skip
MANIFEST = {
    "name": "n",
    "corpus": {"clips": [{"name": clip, "domain": "speech"} for clip in CLIPS]},
    "plan": PLAN,
}


def of(number: int | str, **changes: Any) -> Row:
    return replace(row(number), **changes)


def finished(folder: Path, *, without: int = 0) -> Path:
    """A run with every row of the plan but the last `without`."""
    rows = [
        row(0, clip=CLIPS[0]),
        row(1, math.nan, clip=CLIPS[1], status=Status.UNDEFINED, reason="too short"),
        of(2, clip=CLIPS[0], kind=Kind.RATE, key="entropy", backend="order-0"),
        of(3, clip=CLIPS[1], kind=Kind.RATE, key="entropy", backend="order-0"),
        of(4, clip="", domain="", kind=Kind.COST, key="encode_rtf", backend=""),
        of("other", clip=CLIPS[0], kind=Kind.RATE, key="entropy", backend="another model"),
    ]
    with RunWriter(folder) as writer:
        writer.write_manifest(MANIFEST)
        writer.append(rows[: 5 - without])
        writer.append(rows[5:])
    return folder


def test_a_whole_run_has_no_problems(tmp_path: Path) -> None:
    found = validate_run(finished(tmp_path))
    assert found.problems == ()
    assert found.notes == ()
    assert (found.parts, found.rows) == (1, 6)


def test_missing_rows_are_counted_and_named(tmp_path: Path) -> None:
    (problem,) = validate_run(finished(tmp_path, without=2)).problems
    assert "2 of 5 planned rows are missing" in problem
    assert "opus 12 codes speech speech/b.wav rate/entropy order-0" in problem
    assert "opus 12 codes cost/encode_rtf" in problem


def test_failed_rows_are_there_and_noted(tmp_path: Path) -> None:
    with RunWriter(finished(tmp_path)) as writer:
        writer.append([failed(0)])
    found = validate_run(tmp_path)
    assert found.problems == ()
    assert "1 rows have failed" in found.notes[0]


def test_every_damage_is_named_at_once(tmp_path: Path) -> None:
    finished(tmp_path)
    with RunWriter(tmp_path) as writer:
        for number in (10, 11, 12):
            writer.append([row(number)])
            writer.flush()
        writer.close(merge=False)
    parts = [part.path for part in list_parts(tmp_path / "measurements")]
    assert len(parts) == 4
    for path in parts[1:3]:
        path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "measurements" / "mine.parquet").write_bytes(b"PAR1")
    (tmp_path / "manifest.json").write_text("{")
    problems = "\n".join(validate_run(tmp_path).problems)
    for said in (parts[1].name, parts[2].name, "mine.parquet is not a part", "manifest.json"):
        assert said in problems
    assert parts[3].name not in problems


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": math.nan}, "are ok without a finite value"),
        ({"status": "failed", "reason": "x"}, "have a value and are not ok"),
        ({"status": "failed", "value": math.nan}, "are not ok and give no reason"),
        ({"status": "great"}, "have an unknown status"),
        ({"kind": "guess"}, "have an unknown kind"),
        ({"unit_key": ""}, "have no unit key"),
        ({"seconds": -1.0}, "have no sound duration"),
        ({"seconds": math.inf}, "have no sound duration"),
    ],
)
def test_rows_that_break_the_schema_are_found(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    finished(tmp_path)
    bad = row(9).as_dict() | change
    write_part(tmp_path / "measurements", 7, whole(pa.Table.from_pylist([bad], schema())))
    problems = validate_run(tmp_path).problems
    assert any(f"1 of 1 rows {said}" in problem for problem in problems), problems


def test_kept_audio_and_traces_are_looked_at_too(tmp_path: Path) -> None:
    finished(tmp_path)
    with RunWriter(tmp_path) as writer:
        writer.append([of(20, kind=Kind.AUDIO, key="flac", unit="full scale", backend="")])
    traces = tmp_path / "traces"
    traces.mkdir()
    part = write_part(traces, 1, pa.table({"a": [1]}))
    problems = "\n".join(validate_run(tmp_path).problems)
    assert "1 of 1 files of kept audio are missing" in problems
    assert f"{part.path.name} is damaged" in problems
    part.path.write_bytes(part.path.read_bytes() + b"x")
    assert any(f"{part.path.name} is damaged" in one for one in validate_run(tmp_path).problems)


def test_an_older_manifest_without_a_plan_is_no_problem_but_a_note(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.write_manifest({"name": "n"})
        writer.append([row(1)])
    found = validate_run(tmp_path)
    assert found.problems == ()
    assert "the manifest has no plan" in found.notes[0]
    assert not run_status(tmp_path).planned


@pytest.mark.parametrize(
    "plan",
    [
        3, [3], [{}], {"a": 1}, [{**PLAN[0], "system": ["x"]}],
        *([{**PLAN[0], "each": each}] for each in (
            3, [3], ["metric/stoi"], [["metric"]], [["metric", ["stoi"], ""]], [["other", "x", ""]]
        )),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [1, 2])
def test_a_plan_that_is_none_is_a_problem(tmp_path: Path, plan: Any, version: int) -> None:
    finished(tmp_path)
    if version == 1 and "metric/stoi" in str(plan):
        return  # which is a plan of this version
    text = json.dumps({"schema_version": version, **MANIFEST, "plan": plan})
    (tmp_path / "manifest.json").write_text(text)
    damaged = r"manifest\.json is damaged \(its plan|plan in manifest\.json is damaged"
    assert re.search(damaged, validate_run(tmp_path).problems[0])
    with pytest.raises(StoreError, match=damaged):
        run_status(tmp_path)


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    for check in (validate_run, run_status):
        with pytest.raises(StoreError, match=r"there is no manifest\.json"):
            check(tmp_path)


def test_status_counts_what_is_planned(tmp_path: Path) -> None:
    with RunWriter(finished(tmp_path, without=1)) as writer:
        rate = {"clip": CLIPS[0], "kind": Kind.RATE, "key": "entropy", "backend": "order-0"}
        writer.append([failed(0, "it broke"), replace(failed(2, "it broke"), **rate)])
    status = run_status(tmp_path)
    assert status.counts == Counts(ok=1, undefined=1, failed=2, missing=1)
    assert status.counts.asked == 5
    assert status.systems == {"opus": status.counts}
    assert status.reasons == (("it broke", 2),)
    assert status.process == ""


@pytest.mark.parametrize("prior", ["N(0, I)", ""])
def test_kl_to_a_fitted_prior_does_not_stand_for_the_headline(tmp_path: Path, prior: str) -> None:
    each = [["rate", "kl", prior], ["rate", "kl", "Gaussian prior, fit 1234"]]
    plan = [{**PLAN[0], "each": each}]
    kl = {"kind": Kind.RATE, "key": "kl"}
    headline = replace(failed(1), **kl, clip=CLIPS[0], backend="N(0, I)")
    fitted = {**kl, "backend": "Gaussian prior, fit 1234"}
    with RunWriter(tmp_path) as writer:
        writer.write_manifest({**MANIFEST, "plan": plan})
        writer.append([headline, *(of(2 + i, clip=clip, **fitted) for i, clip in enumerate(CLIPS))])
    assert run_status(tmp_path).counts == Counts(ok=2, failed=1, missing=1)
    (problem,) = validate_run(tmp_path).problems
    assert f"1 of 4 planned rows are missing (opus 12 codes speech {CLIPS[1]} rate/kl" in problem


def test_time_left_follows_from_the_speed_of_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row a second for the two that were measured: three missing rows take three seconds."""
    now = time.time()
    monkeypatch.setattr("rdbench.store.writer.time.time", lambda: now - 2.0)
    finished(tmp_path / "a", without=3)
    (part,) = list_parts(tmp_path / "a" / "measurements")
    session = session_of(tmp_path / "a")
    assert session is not None
    assert (session.running, session.done) == (False, 0)
    os.utime(part.path, (now, now))
    status = run_status(tmp_path / "a")
    # Three rows are there, one of them not of the plan: their speed is that of the session.
    assert status.seconds_left == pytest.approx(3 * 2.0 / 3, rel=1e-3)
    monkeypatch.undo()
    assert run_status(finished(tmp_path / "b")).seconds_left == 0.0


def test_status_of_a_run_that_is_running_names_its_process_and_does_not_disturb_it(
    tmp_path: Path,
) -> None:
    finished(tmp_path)
    with RunWriter(tmp_path) as writer:
        for _ in range(3):
            assert f"process {os.getpid()} on " in run_status(tmp_path).process
        writer.append([row(1)])
    assert run_status(tmp_path).process == ""
    with RunWriter(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', "\x00", '{"pid": 1}'])
def test_a_lock_that_tells_nothing_costs_the_estimate_alone(tmp_path: Path, text: str) -> None:
    finished(tmp_path, without=1)
    (tmp_path / ".lock").write_text(text)
    status = run_status(tmp_path)
    assert status.seconds_left is None
    assert status.counts.missing == 1


def test_nothing_is_told_as_done_before_it_is_on_the_disk(tmp_path: Path) -> None:
    told: list[int] = []

    def note(number: int) -> Callable[[], None]:
        return lambda: told.append(number)

    with RunWriter(tmp_path, flush_rows=3, flush_seconds=1e6) as writer:
        writer.when_written(note(0))  # nothing waits
        assert told == [0]
        writer.append([row(1)])
        writer.when_written(note(1))
        writer.append([row(2)])
        writer.when_written(note(2))
        assert told == [0]
        writer.append([row(3)])
        assert told == [0, 1, 2]
        writer.append([row(4)])
        writer.when_written(note(4))
    assert told == [0, 1, 2, 4]
