"""Runs that are killed, refused by the disk, or doubled: nothing reported is lost, ends are equal.

The long version of these is `python benchmarks/reliability.py --kills 500 --steps`.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from commands import rdbench
from kills import Tally, check_after_kill, kill_at_random, kill_at_steps, reports_of, same_rows
from small_benchmark import SYSTEMS, Children, Trial, make_clips

from rdbench.store.reader import done_keys
from rdbench.store.status import run_status

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def children() -> Children:
    return Children()


@pytest.fixture(scope="module")
def undisturbed(
    children: Children, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trial, float, list[tuple[str, str]]]:
    """A finished run, how long it took, and the steps of its writing."""
    folder = tmp_path_factory.mktemp("undisturbed")
    clips = make_clips(folder / "clips")
    first = Trial(clips, folder / "first", SYSTEMS)
    children.finish(first, reports_of(first))  # waits for imports
    trial = replace(first, folder=folder / "run", flush_rows=5)
    began = time.monotonic()
    end = children.finish(replace(trial, fault={"action": "count"}), reports_of(trial))
    assert end["end"] == "finished"
    return trial, time.monotonic() - began, end["steps"]


Undisturbed = tuple[Trial, float, list[tuple[str, str]]]


def test_the_steps_are_those_of_a_careful_writer(undisturbed: Undisturbed) -> None:
    """Every file is flushed before it is renamed, and its folder before anything else happens."""
    _, _, steps = undisturbed
    renamed = [i for i, (kind, _) in enumerate(steps) if kind == "replace"]
    assert len(renamed) >= 7  # four parts, one of them merged, and the manifest twice
    assert "unlink" in {kind for kind, _ in steps}  # parts were merged
    for place in renamed:
        name = steps[place][1]
        assert steps[place - 3 : place] == [("open", name), ("write", name), ("fsync", name)]
        assert steps[place + 1][0] == "fsync"


def chosen(steps: list[tuple[str, str]], count: int) -> list[int]:
    """Steps spread over a run, so that every kind is among them."""
    firsts = {kind: number for number, (kind, _) in reversed(list(enumerate(steps, start=1)))}
    spread = np.linspace(1, len(steps), count).round().astype(int).tolist()
    return sorted({*firsts.values(), *spread})


def test_a_run_that_is_killed_at_a_step_of_writing_goes_on_to_the_same_rows(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, _, steps = undisturbed
    tally = Tally()
    kill_at_steps(
        children, replace(trial, folder=tmp_path / "run"), trial.folder, chosen(steps, 8),
        tally=tally,
    )  # fmt: skip
    assert tally.sound, tally
    assert tally.kills == tally.trials


def test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_rows(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, seconds, _ = undisturbed
    tally = Tally()
    kill_at_random(
        children, replace(trial, folder=tmp_path / "run"), trial.folder,
        np.random.default_rng(1), kills=15, seconds=seconds, tally=tally,
    )  # fmt: skip
    assert tally.sound, tally
    assert tally.kills == 15


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_ends_the_run_with_a_sentence(
    children: Children, undisturbed: Undisturbed, tmp_path: Path, number: int
) -> None:
    """From some step on, for good: what was written stays, and the next run ends as it should."""
    trial, _, steps = undisturbed
    tally = Tally()
    places = chosen(steps, 3)[::2]
    kill_at_steps(
        children, replace(trial, folder=tmp_path / "run"), trial.folder, places,
        tally=tally, fault={"action": "refuse", "number": number},
    )  # fmt: skip
    assert tally.sound, tally
    assert set(tally.ends) <= {"refused", "finished"}
    # What comes after the manifest of a finished run is merging, which may fail.
    whole = max(i for i, step in enumerate(steps, start=1) if "manifest.json" in step[1])
    assert tally.ends["refused"] >= sum(place <= whole for place in places)


def test_a_disk_that_refuses_once_costs_nothing(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, _, steps = undisturbed
    place = 1 + next(i for i, (_, name) in enumerate(steps) if "part-00000003" in name)
    tally = Tally()
    fault = {"action": "refuse", "number": errno.EIO, "sticky": False}
    kill_at_steps(
        children, replace(trial, folder=tmp_path / "run"), trial.folder, [place],
        tally=tally, fault=fault,
    )  # fmt: skip
    assert tally.sound, tally


def test_a_slow_disk_changes_nothing(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, _, _ = undisturbed
    slow = replace(trial, folder=tmp_path / "run", fault={"action": "slow", "seconds": 0.02})
    assert children.finish(slow, reports_of(slow))["end"] == "finished"
    assert same_rows(slow.folder, trial.folder)


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, _, _ = undisturbed
    fault = {"action": "refuse", "number": errno.EROFS, "at": 1}
    end = children.finish(replace(trial, folder=tmp_path / "run", fault=fault), tmp_path / "r")
    assert end["end"] == "refused"
    assert "it is not writable; choose another folder" in end["sentence"]
    (tmp_path / "file").write_text("")
    end = children.finish(replace(trial, folder=tmp_path / "file" / "run"), tmp_path / "r")
    assert end["end"] == "refused"
    assert "a file is in its way" in end["sentence"]


def test_of_two_runs_on_one_folder_one_is_refused_and_the_other_ends(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, _, _ = undisturbed
    slow = replace(trial, folder=tmp_path / "run", fault={"action": "slow", "seconds": 0.05})
    pairs = [children.start(slow, tmp_path / f"r{i}") for i in range(2)]
    ends = []
    for child, pipe in pairs:
        assert pipe.recv() == "began"
        ends.append(pipe.recv())
        child.join()
    assert sorted(end["end"] for end in ends) == ["finished", "refused"]
    sentence = next(end["sentence"] for end in ends if end["end"] == "refused")
    pids = [child.pid for child, _ in pairs]
    assert any(f"is being written by process {pid}" in sentence for pid in pids)
    assert same_rows(slow.folder, trial.folder)


def test_workers_end_with_a_run_that_is_killed(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, seconds, _ = undisturbed
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    killed = replace(trial, folder=tmp_path / "run", workers=2)
    child, pipe = children.start(killed, reports_of(killed))
    pipe.recv()
    time.sleep(0.6 * seconds)
    child.kill()
    child.join()
    tally = Tally()
    check_after_kill(killed, tally, "killed")
    assert tally.sound, tally
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        left = {process.pid for process in psutil.Process().children(recursive=True)} - before
        if not left:
            break
        time.sleep(0.1)
    assert not left


def test_a_kill_of_the_real_command_is_a_run_that_goes_on(tmp_path: Path) -> None:
    """`kill -9` on `rdbench run` itself; `rdbench status` says what there is."""
    make_clips(tmp_path / "clips", count=24)
    (tmp_path / "spec.yaml").write_text(
        "name: killed\ncorpus: {kind: folder, path: clips}\n"
        "protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 0.5}\n"
        "metrics: {default: [snr]}\nsystems: [{codec: 'faulty_codecs:Slow'}]\n"
        "costs: {enabled: false}\n"
    )
    path = os.pathsep.join([str(HERE), str(HERE.parent / "engine")])
    environment = os.environ | {"PYTHONPATH": path + os.pathsep + os.environ.get("PYTHONPATH", "")}
    command = [sys.executable, "-m", "rdbench", "run", "spec.yaml", "--allow-code", "--out", "run",
               "--workers", "1"]  # fmt: skip

    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "48 clip evaluations" in process.stderr.readline()
    limit = time.monotonic() + 60
    while not done_keys(tmp_path / "run") and time.monotonic() < limit:
        time.sleep(0.05)
    assert run_status(tmp_path / "run").process.startswith(f"process {process.pid} on ")
    process.kill()
    process.communicate()
    had = len(done_keys(tmp_path / "run"))
    shown = rdbench("status", "run", cwd=tmp_path).stdout
    assert "not running" in shown
    assert f"done: {had} of 144 planned rows" in shown
    assert rdbench("validate", "run", cwd=tmp_path).returncode == (had < 144)
    again = rdbench("run", "spec.yaml", "--allow-code", "--out", "run", "-q", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert rdbench("validate", "run", cwd=tmp_path).returncode == 0
    assert len(done_keys(tmp_path / "run")) == 144


@pytest.mark.slow
def test_every_step_of_writing_may_be_the_last(
    children: Children, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    trial, _, steps = undisturbed
    for fault in ({"action": "kill"}, {"action": "refuse", "number": errno.ENOSPC}):
        tally = Tally()
        kill_at_steps(
            children, replace(trial, folder=tmp_path / "run"), trial.folder,
            list(range(1, len(steps) + 1)), tally=tally, fault=dict[str, Any](fault),
        )  # fmt: skip
        assert tally.sound, tally
