"""Runs on real workers of Dask's: the rows, features and audio of one machine, bit for bit."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from engine_runs import Listener, everything, fake, make_clips, run

from rdbench.types import RdbenchError, StoreError

pytest.importorskip("distributed")

from rdbench.engine.executors.cluster.local import LocalCluster

NAMES = [f"clip {number}" for number in range(8)]
SYSTEMS = (fake("Quantizer"), {"codec": "identity"})
METRICS = ("snr", "frechet_logmel")
KILLS = 100


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"), NAMES)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def cluster(own_cache: None) -> Iterator[LocalCluster]:
    started = LocalCluster(2)
    yield started
    started.close()


def measure(clips: Path, folder: Path, cluster: str = "", **more: Any) -> pd.DataFrame:
    """All rows, after a run that keeps audio."""
    where = {"cluster": cluster, "workers": None} if cluster else {"workers": 1}
    run(clips, folder, *SYSTEMS, metrics=METRICS, keep_audio=True, **where, **more)
    return everything(folder)


def audio_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "audio").iterdir()}


@pytest.fixture(scope="module")
def one_machine(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one machine") / "run"
    assert set(measure(clips, folder)["status"]) == {"ok"}
    return folder


def check_equal(folder: Path, one_machine: Path) -> None:
    pd.testing.assert_frame_equal(everything(folder), everything(one_machine), check_exact=True)
    assert audio_of(folder) == audio_of(one_machine)


def workers_of(cluster: LocalCluster) -> list[psutil.Process]:
    """The processes of a cluster that are Dask's workers."""
    below = psutil.Process(cluster.worker_process).children()
    return [one for one in below if "multiprocessing.spawn" in " ".join(one.cmdline())]


class Once(Listener):
    """Does something when the first clips are done."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self._action: Callable[[], object] | None = action

    def advance(self, steps: int = 1) -> None:
        action, self._action = self._action, None
        if action:
            action()


def test_a_worker_that_is_killed_changes_no_row_no_feature_and_no_audio(
    cluster: LocalCluster, clips: Path, one_machine: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    progress = Once(workers_of(cluster)[0].kill)
    measure(clips, folder, cluster.address, progress=progress)
    check_equal(folder, one_machine)
    assert [line for line in progress.said if "is gone" in line]
    again = Listener()
    assert run(
        clips, folder, *SYSTEMS, metrics=METRICS, keep_audio=True, progress=again,
        cluster="tcp://127.0.0.1:9", workers=None,
    ).written == 0  # fmt: skip
    assert not again.said


CLIENT = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
from test_cluster_runs import measure
measure(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
"""


@pytest.mark.slow
def test_a_client_that_is_killed_is_taken_up_by_another_with_other_workers(
    cluster: LocalCluster, clips: Path, one_machine: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", CLIENT, ":".join(sys.path), str(clips), str(folder)]
    with subprocess.Popen([*command, "local:2"]) as client:
        while not list(folder.glob("measurements/*.parquet")) and client.poll() is None:
            time.sleep(0.1)
        below = psutil.Process(client.pid).children(recursive=True)
        with pytest.raises(StoreError, match=r"already|another|process"):
            measure(clips, folder, cluster.address)
        client.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    measure(clips, folder, cluster.address)
    check_equal(folder, one_machine)


@pytest.mark.slow
def test_a_scheduler_that_is_killed_costs_nothing_that_was_stored(
    clips: Path, one_machine: Path, tmp_path: Path
) -> None:
    folder, broken = tmp_path / "run", LocalCluster(2)
    try:
        with pytest.raises(RdbenchError, match=r"does not answer any more|there was no worker"):
            measure(clips, folder, broken.address, progress=Once(broken.end_scheduler))
    finally:
        broken.close()
    measure(clips, folder)
    check_equal(folder, one_machine)


class Moving(Listener):
    """Tells that rows have come."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = threading.Event()

    def advance(self, steps: int = 1) -> None:
        self.moved.set()


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing(
    cluster: LocalCluster, clips: Path, one_machine: Path, tmp_path: Path
) -> None:
    chance, progress, killed = random.Random(0), Moving(), 0

    def kill_one() -> bool:
        """A worker, its host, or the server that hosts are forked from."""
        with contextlib.suppress(psutil.Error):  # it has ended by itself
            below = psutil.Process(cluster.worker_process).children(recursive=True)
            victim = chance.choice(below)
            if "tracker" not in " ".join(victim.cmdline()):
                victim.kill()
                return True
        return False

    def kill() -> None:
        nonlocal killed
        while killed < KILLS:
            progress.moved.wait()  # so that every run ends
            progress.moved.clear()
            time.sleep(chance.uniform(0.0, 3.0))
            killed += kill_one()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    runs = 0
    while killed < KILLS:
        assert killer.is_alive()
        folder = tmp_path / f"run {runs}"
        measure(clips, folder, cluster.address, progress=progress)
        measure(clips, folder)  # what failed, if anything did
        check_equal(folder, one_machine)
        runs += 1
