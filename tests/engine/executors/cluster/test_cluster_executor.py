"""Shards over workers that come, go, hang, and are of other versions: every unit once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from fake_scheduler import Counting, Dies, Scheduler, Worker, shards_of

from rdbench.engine.executors.base import Loss
from rdbench.engine.executors.cluster import executor
from rdbench.engine.executors.cluster import worker as there
from rdbench.engine.executors.cluster.executor import STRIKES, WORKER_TRIES, Cluster, ClusterError
from rdbench.engine.executors.cluster.files import NamedFile
from rdbench.engine.executors.cluster.packages import versions_here
from rdbench.engine.executors.cluster.parcels import Parcel
from rdbench.engine.measure.shard import Setup, Shard
from rdbench.types import RdbenchError

NAMES = [f"clip {number}" for number in range(12)]
SETUP = Setup((), (), {}, 1, 10.0, 0.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "WATCH_SECONDS", 0.02)


@pytest.fixture
def intake() -> Counting:
    return Counting()


def measure(
    scheduler: Scheduler, shards: Iterator[Shard], intake: Counting, wait_seconds: float = 20.0
) -> None:
    cluster = Cluster(SETUP, scheduler.connect, wait_seconds=wait_seconds)
    try:
        cluster.run(shards, intake)
    finally:
        cluster.close()


def names_in(shard: Shard) -> set[str]:
    return {work.clip.name for work in shard.clips}


def test_every_unit_comes_once_and_says_with_what_it_was_measured(
    tmp_path: Path, intake: Counting
) -> None:
    workers = [Worker(tmp_path / "cache") for _ in range(3)]
    workers[0].versions = workers[0].versions | {"a codec that is not installed here": "1"}
    scheduler = Scheduler(*workers)
    measure(scheduler, shards_of(tmp_path, NAMES), intake)
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert intake.provenances == {"them"}
    assert scheduler.released
    assert not intake.said


def test_shards_grow_and_become_small_at_the_end(tmp_path: Path, intake: Counting) -> None:
    worker = Worker(tmp_path / "cache")
    measure(Scheduler(worker), shards_of(tmp_path, map(str, range(40))), intake)
    assert worker.sizes[:3] == [1, 2, 4]
    assert max(worker.sizes) > worker.sizes[-1] == 1
    assert sum(worker.sizes) == 40


def test_what_a_worker_is_lost_with_is_measured_by_another(
    tmp_path: Path, intake: Counting
) -> None:
    def dies(shard: Shard) -> None:
        raise Dies

    scheduler = Scheduler(Worker(tmp_path / "a", dies), Worker(tmp_path / "b"))
    measure(scheduler, shards_of(tmp_path, NAMES), intake)
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert intake.said == ["the worker tcp://0 is gone"]


def test_a_clip_that_ends_every_worker_fails_alone(tmp_path: Path, intake: Counting) -> None:
    ended: list[Shard] = []

    def dies(shard: Shard) -> None:
        if "clip 7" in names_in(shard):
            ended.append(shard)
            scheduler.join(Worker(tmp_path / "cache", dies))
            raise Dies

    scheduler = Scheduler(Worker(tmp_path / "cache", dies))
    measure(scheduler, shards_of(tmp_path, NAMES), intake)
    assert intake.taken == {name: 1 for name in NAMES if name != "clip 7"}
    assert "its worker was lost, each time that it was tried" in intake.failed["clip 7"]
    assert list(intake.failed) == ["clip 7"]
    assert sum(len(shard.clips) == 1 for shard in ended) in (WORKER_TRIES, WORKER_TRIES + 1)


def test_a_worker_that_is_silent_is_not_waited_for_and_not_counted_twice(
    tmp_path: Path, intake: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "SILENT_SECONDS", 0.3)
    frozen, beating = threading.Event(), threading.Event()

    def freezes(shard: Shard) -> None:
        frozen.set()
        beating.wait(20)

    slow, fast = Worker(tmp_path / "a", freezes), Worker(tmp_path / "b")
    scheduler = Scheduler(slow, fast)

    def beat() -> None:
        while scheduler.status == "running":
            fast.beat += 1
            slow.beat += not frozen.is_set() or beating.is_set()
            if intake.said:
                beating.set()  # it comes to life when it was given up, and answers
            beating.wait(0.05)

    threading.Thread(target=beat, daemon=True).start()
    measure(scheduler, shards_of(tmp_path, NAMES), intake)
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert intake.said == ["the worker tcp://0 was not heard of for 0.3 s"]


def test_a_worker_that_joins_late_works(tmp_path: Path, intake: Counting) -> None:
    late = Worker(tmp_path / "late")

    def joined(shard: Shard) -> None:
        if late not in scheduler.workers.values():
            scheduler.join(late)
        threading.Event().wait(0.05)

    scheduler = Scheduler(Worker(tmp_path / "first", joined))
    measure(scheduler, shards_of(tmp_path, NAMES), intake)
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert late.sizes


def _other(worker: Worker) -> None:
    worker.versions = worker.versions | {"scipy": "1.0"}
    del worker.versions["numba"]


def _bare(worker: Worker) -> None:
    worker.versions = {}


def _full(worker: Worker) -> None:
    worker.problem = "it cannot keep files"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            _other,
            r"it has scipy 1\.0 \(here .*\), numba not installed \(here .*\), and its numbers",
        ),
        (_bare, "it cannot run rdbench .*rdbench.*; install it there"),
        (_full, "it cannot keep files"),
    ],
)
def test_a_worker_that_is_no_use_is_refused_and_said(
    tmp_path: Path, intake: Counting, spoil: Any, why: str
) -> None:
    useless, good = Worker(tmp_path / "a"), Worker(tmp_path / "b")
    spoil(useless)
    measure(Scheduler(useless, good), shards_of(tmp_path, NAMES), intake)
    assert not useless.sizes
    assert intake.taken == dict.fromkeys(NAMES, 1)
    (said,) = intake.said
    assert said.startswith("the worker tcp://0 is not used: ")
    with pytest.raises(ClusterError, match=rf"no worker .* for 0\.3 s that can be used \({why}"):
        measure(Scheduler(useless), shards_of(tmp_path, NAMES), intake, wait_seconds=0.3)


def test_versions_are_those_of_what_codecs_and_metrics_ask_for() -> None:
    found = versions_here()
    assert {"rdbench", "python", "torch", "scipy", "numba", "constriction", "pyyaml"} <= set(found)
    assert not {"pytest", "mkdocs", "distributed", "setuptools", "rich"} & set(found)
    for package in ("transformers", "snac", "onnxruntime", "audiobox-aesthetics"):  # of extras
        with suppress(PackageNotFoundError):
            assert version(package) == found[package]


def test_a_run_without_workers_says_so_and_ends(tmp_path: Path, intake: Counting) -> None:
    with pytest.raises(ClusterError, match=r"there was no worker at tcp://scheduler for 0\.4 s"):
        measure(Scheduler(), shards_of(tmp_path, NAMES), intake, wait_seconds=0.4)
    assert len(intake.said) == 1
    assert intake.said[0].startswith("no worker at tcp://scheduler")


def test_a_run_with_nothing_to_do_asks_for_no_scheduler(intake: Counting) -> None:
    def refuse() -> Any:
        raise AssertionError("it was asked for")

    Cluster(SETUP, refuse).run(iter(()), intake)


def test_a_scheduler_that_is_gone_ends_the_run_with_a_sentence(
    tmp_path: Path, intake: Counting
) -> None:
    def ends(shard: Shard) -> None:
        scheduler.status = "closed"
        raise Dies

    scheduler = Scheduler(Worker(tmp_path / "cache", ends))
    with pytest.raises(RdbenchError, match="does not answer any more; what was measured is kept"):
        measure(scheduler, shards_of(tmp_path, NAMES), intake)


def test_a_shard_that_ends_its_process_goes_down_the_ladder(
    tmp_path: Path, intake: Counting
) -> None:
    def loses(shard: Shard) -> Loss | None:
        return Loss("its process died") if "clip 9" in names_in(shard) else None

    measure(Scheduler(Worker(tmp_path / "a", loses)), shards_of(tmp_path, NAMES), intake)
    assert intake.taken == {name: 1 for name in NAMES if name != "clip 9"}
    assert intake.failed == {"clip 9": "its process died"}


def test_a_worker_whose_device_cannot_be_used_leaves_its_work_to_others(
    tmp_path: Path, intake: Counting
) -> None:
    def broken(shard: Shard) -> Loss:
        return Loss("no such device", final=True)

    scheduler = Scheduler(Worker(tmp_path / "a", broken), Worker(tmp_path / "b"))
    measure(scheduler, shards_of(tmp_path, NAMES), intake)
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert intake.said == ["the worker tcp://0 is not used: no such device"]


def test_a_worker_that_is_refused_with_shards_in_hand_leaves_them_to_others(
    tmp_path: Path, intake: Counting
) -> None:
    other_works = threading.Event()

    def broken(shard: Shard) -> Loss:
        other_works.wait(20)
        return Loss("no such device", final=True)

    bad = Worker(tmp_path / "a", broken, slots=8)
    good = Worker(tmp_path / "b", lambda _: other_works.set())
    measure(Scheduler(bad, good), shards_of(tmp_path, NAMES), intake)
    assert len(bad.sizes) > STRIKES  # more than it takes for it not to be used
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert intake.said == ["the worker tcp://0 is not used: no such device"]


def test_what_becomes_of_a_refused_worker_leaves_nothing_in_its_hands(
    tmp_path: Path, intake: Counting
) -> None:
    in_hand = threading.Semaphore(0)
    turns = iter(("refused", "lacks a file", "dies"))

    def ends(shard: Shard) -> there.Answer:
        turn = next(turns)
        if turn == "refused":
            in_hand.acquire(timeout=20)
            in_hand.acquire(timeout=20)
            return there.Answer(problem="it cannot keep files")
        in_hand.release()
        while not intake.said:
            time.sleep(0.01)
        if turn == "dies":
            raise Dies
        return there.Answer(missing=(NamedFile("clip", "0" * 64, 1),))

    scheduler = Scheduler(Worker(tmp_path / "a", ends, slots=3), Worker(tmp_path / "b"))
    measure(scheduler, shards_of(tmp_path, NAMES), intake)
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert intake.said[0] == "the worker tcp://0 is not used: it cannot keep files"
    assert intake.said[1:] == ["the worker tcp://0 is gone"]


def test_files_are_sent_once_to_a_cache_and_not_where_they_are(
    tmp_path: Path, intake: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rdbench.engine.executors.cluster.files._holds",
        lambda path, file: str(tmp_path / "elsewhere") in path and Path(path).is_file(),
    )
    folder = tmp_path / "elsewhere"
    workers = [Worker(folder), Worker(folder)]
    (tmp_path / "clips").mkdir()
    measure(Scheduler(*workers), shards_of(tmp_path / "clips", NAMES), intake)
    sent = workers[0].received + workers[1].received
    assert len(sent) == len(NAMES) + 1  # and the run's set-up
    assert set(sent.values()) == {1}
    assert intake.taken == dict.fromkeys(NAMES, 1)


def test_a_large_shard_travels_as_a_file(
    tmp_path: Path, intake: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "INLINE_BYTES", 0)
    worker = Worker(tmp_path / "cache")
    measure(Scheduler(worker), shards_of(tmp_path, NAMES), intake)
    assert intake.taken == dict.fromkeys(NAMES, 1)
    assert sum(name.startswith("shard of") for name in worker.received) == len(worker.sizes)


def test_a_file_that_was_changed_is_its_clips_failure(
    tmp_path: Path, intake: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = list(shards_of(tmp_path, NAMES))
    (tmp_path / "clip 3.wav").write_bytes(b"another")
    worker = Worker(tmp_path / "cache")
    measure(Scheduler(worker), iter(shards), intake)
    assert intake.taken == {name: 1 for name in NAMES if name != "clip 3"}
    assert "was changed while the run went on" in intake.failed["clip 3"]


def test_a_host_whose_results_cannot_be_taken_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    class Seat:
        def measured(self, shard: Parcel) -> there.Answer:
            raise OSError("no room for the audio")

        def end(self) -> None:
            ended.append("host")

    bench = Worker(tmp_path / "cache")
    monkeypatch.setattr(bench, "_seat", lambda *_: Seat())
    path = tmp_path / "setup"
    path.write_bytes(b"")
    setup = NamedFile(str(path), hashlib.sha256(b"").hexdigest(), 0)
    with pytest.raises(OSError, match="no room"):
        there.Bench.work(bench, there.Job(setup, b"", (), "cpu", 1, 1.0, "", "", ()))
    assert ended == ["host"]


def test_what_runs_in_a_worker_of_dasks_loads_no_torch() -> None:
    code = "import sys, rdbench.engine.executors.cluster.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
