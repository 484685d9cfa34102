"""No moment of writing may lose a flushed row, show half a part, or let two writers in."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injection import Injector, injected
from store_rows import row

from rdbench.rate.trace import Trace
from rdbench.store.attachments import lost_keys
from rdbench.store.audio import open_audio, write_audio
from rdbench.store.features import read_features
from rdbench.store.parts import list_parts, ordered, read_all
from rdbench.store.reader import done_keys, read_rows
from rdbench.store.schema import Kind, Labels, Quantity
from rdbench.store.traces import read_traces
from rdbench.store.validate import validate_run
from rdbench.store.writer import RunWriter
from rdbench.types import RateKind, StoreError


class Killed(BaseException):
    """Stands for the end of the process: nothing of the writer runs after it."""


@contextmanager
def killed_at(step: int) -> Iterator[None]:
    """Ends the process, as it were, before the step-th write, flush, rename or removal."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count >= step:  # Nothing works after the end either, such as tidying up.
                raise Killed
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in [(os, "fsync"), (os, "replace"), (Path, "unlink"), (Path, "open")]:
            patch.setattr(module, name, counted(getattr(module, name)))
        yield


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 30), max_size=6)),
        st.tuples(st.sampled_from(["flush", "compact", "reopen"]), st.none()),
        st.tuples(st.just("retire"), st.sets(st.integers(0, 30), max_size=25)),
        st.tuples(st.just("relabel"), st.sets(st.integers(0, 30), max_size=25)),
        st.tuples(st.just("kill"), st.integers(1, 14)),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(actions)
def test_no_flushed_row_is_lost_wherever_the_writer_ends(  # noqa: PLR0912, PLR0915
    steps: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        safe: dict[str, float] = {}  # What a flush has promised.
        pending: dict[str, float] = {}
        serial = 0.0
        writer = RunWriter(folder, flush_rows=10**6, flush_seconds=1e6)
        for action, argument in [*steps, ("reopen", None)]:
            if action == "append":
                rows = []
                for key in argument:
                    serial += 1
                    rows.append(row(key, serial))
                    pending[f"unit-{key}"] = serial
                writer.append(rows)
            elif action == "kill":
                with killed_at(argument), pytest.raises(Killed):  # noqa: PT012
                    while True:
                        writer.flush()
                        writer.append([row("filler")])
                        pending["unit-filler"] = 3.5
                        writer.compact()
                writer._lock.release()  # As the end of a process does.
                found = (
                    dict(read_rows(folder)[["unit_key", "value"]].to_numpy())
                    if list_parts(folder / "measurements") and done_keys(folder)
                    else {}
                )
                for key, value in found.items():
                    # A part that was renamed but never reported as flushed may well be there.
                    assert value in (safe.get(key), pending.get(key))
                assert safe.keys() <= found.keys()
                safe, pending = found, {}
                writer = RunWriter(folder, flush_rows=10**6, flush_seconds=1e6)
                assert not list(folder.rglob("*.tmp"))
                continue
            elif action == "retire":
                stale = {f"unit-{key}" for key in argument}
                writer.retire(stale)
                safe |= pending
                pending = {}
                assert done_keys(folder) == safe.keys() - stale
                assert writer.recall(stale) == len(safe.keys() & stale)  # All of them come back.
            elif action == "relabel":
                serial += 1
                labels = Labels(f"s{serial}", "c", "p", "v", "clip", "d", "g")
                named = {f"unit-{key}": labels for key in argument}
                writer.relabel(named)
                safe |= pending
                pending = {}
                if safe:
                    frame = read_rows(folder)
                    renamed = frame["system"] == labels.system
                    assert (renamed == frame["unit_key"].isin(list(named))).all()
            else:
                if action == "reopen":
                    writer.close()
                    writer = RunWriter(folder, flush_rows=10**6, flush_seconds=1e6)
                else:
                    getattr(writer, action)()
                if action != "compact":
                    safe |= pending
                    pending = {}
            if safe:
                assert dict(read_rows(folder)[["unit_key", "value"]].to_numpy()) == safe
        writer.close()


NEW_KEYS = {f"unit-{name}": f"new-{name}" for name in (1, "feature", "trace", "audio", "aside")}
NAMED = Labels("renamed", "c", "p", "v", "clip", "d", "g")
ACTIONS: dict[str, Callable[[RunWriter], object]] = {
    "compact": lambda writer: writer.compact(),
    "retire": lambda writer: writer.retire({"unit-1", "unit-x", "unit-feature", "unit-trace"}),
    "recall": lambda writer: writer.recall({"unit-aside", "unit-aside-2", "unit-1"}),
    "relabel": lambda writer: writer.relabel(dict.fromkeys(("unit-0", "unit-x"), NAMED)),
    "rekey": lambda writer: writer.rekey(NEW_KEYS),
    "flush": lambda writer: with_attachments(writer).flush(),
}
EVERYTHING = {f"unit-{i}": float(i) for i in range(2)} | {
    "unit-x": 1.0, "unit-feature": 1.0, "unit-trace": 3.0, "unit-audio": 0.0, "unit-aside": 7.0,
    "unit-aside-2": 8.0,
}  # fmt: skip
ARRAY = np.arange(6.0)
TRACE = Trace(RateKind.KL, "channel", (0, 1), (0.0, 0.0), (1.0, 2.0), 1)


def with_attachments(writer: RunWriter) -> RunWriter:
    writer.feature(row("feature", 1.0, kind=Kind.FEATURE, key="d", backend=""), ARRAY)
    writer.trace(row("trace", 3.0, kind=Kind.TRACE, key="channel"), TRACE)
    return writer


def full_of_everything(folder: Path) -> Path:
    with RunWriter(folder) as writer:
        write_audio(open_audio(folder), "unit-audio", np.zeros((1, 9), np.float32), 8000)
        for i in range(2):
            writer.append([row(i, float(i)), row("x", float(i))])
            writer.flush()
        writer.append([row("audio", 0.0, kind=Kind.AUDIO, key="flac")])
        writer.append([row("aside", 7.0), row("aside-2", 8.0)])
        writer.retire({"unit-aside"})
        writer.retire({"unit-aside-2"})
        with_attachments(writer).close(merge=False)
    return folder


def everything_is_there(folder: Path, action: str) -> None:
    """Every row once, in use or aside, under one of its keys, and what lies beside it is found."""
    old_keys = {new: old for old, new in NEW_KEYS.items()}
    here, aside = (
        dict(zip(*read_all(folder / name, ("unit_key", "value")).columns, strict=True))
        for name in ("measurements", "retired")
    )
    here, aside = (
        {old_keys.get(key.as_py(), key.as_py()): value.as_py() for key, value in found.items()}
        for found in (here, aside)
    )
    assert aside | here == EVERYTHING
    assert len(read_all(folder / "measurements", ("unit_key",))) == len(here)
    if action not in ("retire", "recall"):
        assert not here.keys() & aside.keys()
    assert lost_keys(folder) == set()
    arrays = [one.array for one in read_features(folder, Quantity(Kind.FEATURE, "d"))]
    assert len(arrays) == ("unit-feature" in here)
    assert all((array == ARRAY).all() for array in arrays)
    assert read_traces(folder)["bits"].tolist() == [1.0, 2.0] * ("unit-trace" in here)
    (audio,) = (folder / "audio").iterdir()
    assert audio.stem in ("unit-audio", "new-audio")


@pytest.fixture
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes nothing: an end of the process, unlike a loss of power, leaves what is written."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.usefixtures("fast_disk")
@pytest.mark.parametrize("action", ACTIONS)
def test_whatever_is_done_to_rows_may_end_at_every_step(tmp_path: Path, action: str) -> None:
    whole = full_of_everything(tmp_path / "whole")
    everything_is_there(whole, action)
    shutil.copytree(whole, tmp_path / "undisturbed")
    with RunWriter(tmp_path / "undisturbed") as writer:
        before = read_all(whole / "measurements")
        ACTIONS[action](writer)
        if action not in ("flush", "compact"):
            assert not read_all(writer.folder / "measurements").equals(before)
    expected = rows_of(tmp_path / "undisturbed")
    finished, step = False, 0
    while not finished:
        step += 1
        folder = tmp_path / str(step)
        shutil.copytree(whole, folder)
        writer = RunWriter(folder)
        try:
            with killed_at(step):
                ACTIONS[action](writer)
            finished = True
        except Killed:
            pass
        writer._lock.release()  # As the end of a process does.
        everything_is_there(folder, action)
        with RunWriter(folder) as after:
            ACTIONS[action](after)
        everything_is_there(folder, action)
        assert rows_of(folder) == expected
        assert step < 200
    assert not validate_run_without_manifest(folder)
    assert step > 1


def rows_of(folder: Path) -> tuple[Any, ...]:
    return tuple(
        ordered(read_all(folder / name)).to_pydict() for name in ("measurements", "retired")
    )


def validate_run_without_manifest(folder: Path) -> list[str]:
    return [one for one in validate_run(folder).problems if "manifest.json" not in one]


@pytest.mark.usefixtures("fast_disk")
@pytest.mark.parametrize("action", ACTIONS)
def test_a_disk_that_refuses_at_any_step_is_a_sentence_and_loses_nothing(
    tmp_path: Path, action: str
) -> None:
    whole = full_of_everything(tmp_path / "whole")
    counted = Injector(tmp_path / "count")
    shutil.copytree(whole, counted.folder)
    with RunWriter(counted.folder) as writer, injected(counted):
        ACTIONS[action](writer)
    for step in range(1, len(counted.steps) + 1, 3):
        folder = tmp_path / str(step)
        shutil.copytree(whole, folder)
        number = errno.EIO if step % 2 else errno.ENOSPC
        injector = Injector(folder, at=step, action="refuse", number=number)
        writer = RunWriter(folder)
        with injected(injector), pytest.raises(StoreError, match="cannot write"):
            ACTIONS[action](writer)
        everything_is_there(folder, action)
        ACTIONS[action](writer)  # There is space again.
        writer.close()
        everything_is_there(folder, action)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store_rows import row
import rdbench.store.writer
from rdbench.store.writer import RunWriter
rdbench.store.writer.MANY_PARTS = 5
writer = RunWriter(Path(sys.argv[1]))
first = int(sys.argv[3])
for i in range(first, first + 100_000):
    writer.append([row(i)])
    if i % 3 == 0:
        writer.flush()
        sys.stdout.write(f"{i}\\n")
        sys.stdout.flush()
"""


def start_writer(folder: Path, first: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", WRITER, str(folder), here, str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_all_that_it_reported(tmp_path: Path) -> None:
    chance = random.Random(0)
    reported = 0
    for round_number in range(4):
        first = round_number * 100_000
        process = start_writer(tmp_path, first)
        assert process.stdout is not None
        process.stdout.readline()  # It has begun.
        time.sleep(chance.uniform(0.02, 0.4))
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split()
        process.wait()
        last = int(lines[-1]) if lines else first
        done = done_keys(tmp_path)
        assert {f"unit-{i}" for i in range(first, last + 1)} <= done
        assert len(done) >= reported
        reported = len(done)
    with RunWriter(tmp_path):
        pass
    assert not list(tmp_path.rglob("*.tmp"))
    assert len(done_keys(tmp_path)) == reported


def test_a_reader_beside_a_writer_sees_rows_only_come(tmp_path: Path) -> None:
    process = start_writer(tmp_path, 0)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        seen: set[str] = set()
        limit = time.monotonic() + 60
        reads = 0
        while (reads < 60 or len(seen) < 20) and time.monotonic() < limit:
            now = done_keys(tmp_path)
            assert seen <= now
            seen = now
            reads += 1
        assert len(seen) > 1
    finally:
        process.kill()
        process.communicate()


def test_a_second_writer_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        with pytest.raises(StoreError) as caught:
            RunWriter(tmp_path)
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
        writer.append([row(1)])
    process = start_writer(tmp_path, 10)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(StoreError, match=f"process {process.pid} on .*wait until it ends"):
        RunWriter(tmp_path)
    process.kill()
    process.communicate()
    with RunWriter(tmp_path):  # The lock died with its process.
        pass
    assert "unit-1" in done_keys(tmp_path)


def _sleep() -> None:
    time.sleep(60)


def test_a_forked_child_does_not_hold_the_folder(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    child = multiprocessing.get_context("fork").Process(target=_sleep)
    child.start()
    try:
        with pytest.raises(StoreError):
            RunWriter(tmp_path)  # The child did not give it away either.
        time.sleep(0.2)
        writer.close()
        RunWriter(tmp_path).close()
    finally:
        child.kill()
        child.join()


def test_leftovers_are_ignored_and_then_removed(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(1)])
    leftover = tmp_path / "measurements" / ".part-00000002-0123456789abcdef.parquet.0123abcd.tmp"
    leftover.write_bytes(b"half a par")
    mine = tmp_path / "notes.tmp"
    mine.write_text("not ours")
    assert done_keys(tmp_path) == {"unit-1"}
    with RunWriter(tmp_path):
        pass
    assert not leftover.exists()
    assert mine.exists()
