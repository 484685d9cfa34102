"""No moment of writing may lose a flushed row, show half a part, or let two writers in."""

from __future__ import annotations

import multiprocessing
import os
import random
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

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_rows import row

from rdbench.store.parts import list_parts
from rdbench.store.reader import done_keys, read_rows
from rdbench.store.writer import RunWriter
from rdbench.types import StoreError


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
        st.tuples(st.just("kill"), st.integers(1, 14)),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(actions)
def test_no_flushed_row_is_lost_wherever_the_writer_ends(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        asked: set[str] | None = None  # Keys of the last retire; None is all of them.
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
                safe, pending, asked = found, {}, None
                writer = RunWriter(folder, flush_rows=10**6, flush_seconds=1e6)
                assert not list(folder.rglob("*.tmp"))
                continue
            elif action == "retire":
                asked = {f"unit-{key}" for key in argument}
                writer.retire(keep=asked)
                safe |= pending
                pending = {}
                kept = done_keys(folder)
                assert {key for key in safe if key in asked} <= kept <= asked
                writer.retire(keep=set(safe) | kept)  # And all of them come back.
                asked = None
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


@pytest.mark.parametrize("action", ["compact", "retire"])
def test_merging_and_retiring_may_end_at_every_step(tmp_path: Path, action: str) -> None:
    finished = False
    for step in range(1, 60):
        folder = tmp_path / str(step)
        with RunWriter(folder) as writer:
            for i in range(5):
                writer.append([row(i, float(i)), row("x", float(i))])
                writer.flush()
            writer.close(merge=False)
        writer = RunWriter(folder)
        keep = {"unit-0", "unit-x"}
        try:
            with killed_at(step):
                if action == "compact":
                    writer.compact()
                else:
                    writer.retire(keep=keep)
            finished = True
        except Killed:
            pass
        writer._lock.release()
        everything = {f"unit-{i}": float(i) for i in range(5)} | {"unit-x": 4.0}
        found = dict(read_rows(folder)[["unit_key", "value"]].to_numpy())
        assert found.items() <= everything.items()
        if action == "compact":
            assert found == everything
        with RunWriter(folder) as after:
            after.retire(keep=keep)
            assert done_keys(folder) == keep
            after.retire(keep=set(everything))
        assert dict(read_rows(folder)[["unit_key", "value"]].to_numpy()) == everything
        if finished:
            break
    assert finished


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
