"""A scheduler whose workers are threads that do what a test says, and an intake that counts."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from pathlib import Path
from typing import Any

from rdbench.audio.clip import Clip
from rdbench.engine.executors.base import Loss, Provenance
from rdbench.engine.executors.cluster import worker as there
from rdbench.engine.executors.cluster.connect import Connection
from rdbench.engine.executors.cluster.files import FileCache
from rdbench.engine.executors.cluster.packages import versions_here
from rdbench.engine.executors.cluster.parcels import Parcel, Roots
from rdbench.engine.measure.shard import ClipWork, Shard
from rdbench.engine.measure.work import Result
from rdbench.engine.plan.clips import PlannedClip
from rdbench.identity import hash_file
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score

STEP = ("system", "point", "codes")
QUANTITY = Quantity(Kind.METRIC, "snr")
MADE_WITH = ("them", {"versions": {}})


class Worker(there.Bench):
    """A worker that keeps files and measures nothing: all it is given comes out as 1.

    before: called with each shard first; what it raises is the end of the worker, and an answer or
    a loss that it returns is the worker's.
    """

    def __init__(
        self, cache: Path, before: Callable[[Shard], Any] = lambda _: None, slots: int = 1
    ) -> None:
        self.slots = slots
        self.cache = FileCache(cache)
        self.versions = versions_here()
        self.problem = ""
        self.beat = 0.0
        self.sizes: list[int] = []
        self.received: Counter[str] = Counter()
        self._incoming = {}
        self._before = before

    def facts(self) -> there.Facts:
        return there.Facts("machine", self.versions, self.cache.name, self.problem)

    def receive(self, transfer: str, file: Any, piece: bytes, *, last: bool) -> str:
        self.received[file.path] += last
        return super().receive(transfer, file, piece, last=last)

    def work(self, job: there.Job) -> there.Answer:
        wanted = [job.setup, *job.files]
        if missing := [file for file in wanted if self.cache.find(file, Roots()) is None]:
            return there.Answer(missing=tuple(missing))
        payload = job.shard
        if not isinstance(payload, bytes):
            payload = Path(self.cache.find(payload, Roots()) or "").read_bytes()
        shard: Shard = pickle.loads(pickle.dumps(Parcel(payload, {})))
        self.sizes.append(len(shard.clips))
        told = self._before(shard)
        if isinstance(told, there.Answer):
            return told
        if isinstance(told, Loss):
            return there.Answer(loss=told)
        found = [
            Result(step, work.clip.name, "audio", quantity, Score(1.0), 1.0)
            for work in shard.clips
            for step, quantities in work.wanted.items()
            for quantity in quantities
        ]
        return there.Answer(results=found, made_with=MADE_WITH, seconds=1.0)


class Dies(Exception):
    """Raised in a worker, it is gone."""


class Scheduler:
    """What the executor asks of a client of Dask's."""

    def __init__(self, *workers: Worker) -> None:
        self.status, self.released = "running", False
        self.workers = {f"tcp://{number}": worker for number, worker in enumerate(workers)}

    def connect(self) -> Connection:
        return Connection(self, "tcp://scheduler")

    def join(self, worker: Worker) -> None:
        self.workers = {**self.workers, f"tcp://{len(self.workers)}.{id(worker)}": worker}

    def leave(self, worker: Worker) -> None:
        self.workers = {name: one for name, one in self.workers.items() if one is not worker}

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        if self.status != "running":
            raise OSError("gone")
        return {
            "workers": {
                address: {"last_seen": worker.beat, "nthreads": worker.slots}
                for address, worker in self.workers.items()
            }
        }

    def submit(
        self, function: Any, *arguments: Any, workers: Sequence[str], **named: Any
    ) -> Future[Any]:
        future: Future[Any] = Future()
        worker = self.workers.get(workers[0])

        def call() -> None:
            assert worker is not None
            try:
                if function is there.work:
                    future.set_result(pickle.dumps(worker.work(pickle.loads(arguments[0]))))
                else:
                    future.set_result(worker.receive(*arguments, last=named["last"]))
            except Dies:
                self.leave(worker)
            except InvalidStateError:
                """It was cancelled."""

        if worker is not None:
            threading.Thread(target=call, daemon=True).start()
        return future

    _run = None

    def sync(
        self, _: Any, function: Any, workers: Sequence[str] = (), **more: Any
    ) -> dict[str, Any]:
        if function is there.release:
            self.released = True
            return {}
        worker = self.workers[workers[0]]
        return {workers[0]: worker.facts() if worker.versions else ModuleNotFoundError("rdbench")}

    def close(self, timeout: float) -> None:
        self.status = "closed"


class Counting:
    """An intake that counts what comes of each clip."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.failed: dict[str, str] = {}
        self.said: list[str] = []
        self.provenances: set[str] = set()

    def take(self, results: Sequence[Result], *, provenance: Provenance | None = None) -> None:
        self.taken.update(result.clip for result in results)
        self.provenances |= {provenance[0]} if provenance else set()

    def rest(self, shard: Shard) -> Shard | None:
        left = tuple(work for work in shard.clips if work.clip.name not in self.taken)
        return replace(shard, clips=left) if left else None

    def give_up(self, shard: Shard, loss: Loss) -> None:
        self.failed |= {work.clip.name: loss.reason for work in shard.clips}

    def at(self, system: str, point: str) -> None:
        raise AssertionError("a cluster does not tell that")

    def at_work(self, workers: int, shards: int) -> None:
        """Nothing is shown."""

    def say(self, message: str) -> None:
        self.said.append(message)

    def flush(self) -> None:
        """Nothing is written."""


def shards_of(folder: Path, names: Iterable[str]) -> Iterator[Shard]:
    """A shard for each clip, whose file is written."""
    for name in names:
        path = folder / f"{name}.wav"
        path.write_bytes(name.encode() * 10)
        clip = PlannedClip(Clip(name, path, "audio", name), "", 0, file=hash_file(path))
        yield Shard(clips=(ClipWork(clip, {STEP: frozenset({QUANTITY})}),))
