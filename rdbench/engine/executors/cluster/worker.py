"""What runs in a worker of the cluster: a shard is measured by a host, as on any machine.

A worker of Dask's is a process that can be told to do one thing after the other. Whatever may crash
or hang runs below it, in a host process of rdbench's own (`rdbench.engine.executors.host`), which
keeps codecs and metrics from one shard to the next. Importing this loads no torch.
"""

from __future__ import annotations

import os
import pickle
import queue
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import process, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.engine.environment import cores
from rdbench.engine.executors.base import Loss
from rdbench.engine.executors.cluster.files import (
    ROOT_VARIABLE,
    FileCache,
    Incoming,
    NamedFile,
)
from rdbench.engine.executors.cluster.packages import versions_here
from rdbench.engine.executors.cluster.parcels import Parcel, Roots
from rdbench.engine.executors.host import DONE, LOST, RESULTS, SAY, Event, Host, HostPlace
from rdbench.weights.published import cache_folder

if TYPE_CHECKING:
    from rdbench.engine.measure.work import Result

FILES = "files"
"""The folder of the cache within rdbench's."""
CHANGED = "changed"
"""What `receive` says of a file that was not what was promised."""
ABANDONED_SECONDS = 3600.0
"""After how long without a piece a file on its way is given up: its run was ended."""


@dataclass(frozen=True)
class Facts:
    """What a worker says of itself. versions: of what numbers depend on. cache: tells caches apart.

    problem: why it cannot work.
    """

    machine: str
    versions: Mapping[str, str]
    cache: str
    problem: str = ""


@dataclass(frozen=True)
class Job:
    """A shard for a worker.

    setup: the packed `Setup`. shard: packed, or the file that is that. files: what both need, as
    they are named in either. device: of torch. beside: workers on the machine, which share its
    cores beside a device. root: of the run's side. audio: the run's folder of kept audio, "" where
    none is kept. path: where the run finds code that is no package of an installation.
    """

    setup: NamedFile
    shard: bytes | NamedFile
    files: tuple[NamedFile, ...]
    device: str
    beside: int
    time_limit: float
    root: str
    audio: str
    path: tuple[str, ...]


@dataclass
class Answer:
    """What comes of a job.

    missing: files that the worker lacks; then nothing was measured. made_with: the provenance of
    the results. audio: files by name that the run keeps. seconds: that measuring took. problem: why
    this worker is of no use.
    """

    missing: tuple[NamedFile, ...] = ()
    results: list[Result] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    loss: Loss | None = None
    made_with: tuple[str, dict[str, Any]] = ("", {})
    audio: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""


# -- what the run calls, by way of Dask


def greet(dask_worker: Any) -> Facts:
    """What this worker is."""
    machine, found = socket.gethostname(), versions_here()
    try:
        return Facts(machine, found, _bench(dask_worker).cache.name)
    except OSError as error:
        return Facts(machine, found, "", _no_room(error))


def work(job: bytes) -> bytes:
    """Measures what a pickled `Job` says; a pickled `Answer`."""
    from distributed import get_worker

    return pickle.dumps(_bench(get_worker()).work(pickle.loads(job)), pickle.HIGHEST_PROTOCOL)


def receive(transfer: str, file: NamedFile, piece: bytes, *, last: bool) -> str:
    """Takes a piece of a file; what is wrong, or ""."""
    from distributed import get_worker

    return _bench(get_worker()).receive(transfer, file, piece, last=last)


def release(dask_worker: Any) -> None:
    """Ends the hosts that have nothing to do: the run is over."""
    _bench(dask_worker).release()


def _bench(worker: Any) -> Bench:
    """What a worker of Dask's has of rdbench's, made when it is first asked for."""
    if not hasattr(worker, "rdbench_bench"):
        worker.rdbench_bench = Bench(Path(worker.local_directory))
    found: Bench = worker.rdbench_bench
    return found


class Bench:
    """What a worker keeps: its cache, and hosts that have nothing to do.

    folder: for what is written and sent away at once.
    """

    def __init__(self, folder: Path) -> None:
        # Dask's workers are daemons, which Python forbids to have children.
        config: Any = process.current_process()
        config._config.pop("daemon", None)
        self.cache = FileCache(cache_folder().parent / FILES)
        self._folder = folder
        self._idle: list[_Seat] = []
        self._incoming: dict[str, Incoming] = {}

    def receive(self, transfer: str, file: NamedFile, piece: bytes, *, last: bool) -> str:
        """Takes a piece of a file; what is wrong, or ""."""
        self._give_up(ABANDONED_SECONDS)
        try:
            if transfer not in self._incoming:
                self._incoming[transfer] = self.cache.begin(file)
            self._incoming[transfer].write(piece)
            if not last:
                return ""
            with self._incoming.pop(transfer) as incoming:
                whole = incoming.finish()
        except OSError as error:
            if broken := self._incoming.pop(transfer, None):
                broken.__exit__()
            return _no_room(error)
        return "" if whole else CHANGED

    def work(self, job: Job) -> Answer:
        """Measures a shard, or says what is missing for that."""
        roots = Roots(job.root, os.environ.get(ROOT_VARIABLE, ""))
        places, missing = {}, []
        try:
            for file in (job.setup, *job.files):
                if found := self.cache.find(file, roots):
                    places[file.path] = found
                else:
                    missing.append(file)
        except OSError as error:
            return Answer(problem=_no_room(error))
        if missing:
            return Answer(missing=tuple(missing))
        shard = job.shard
        if isinstance(shard, bytes):
            payload = shard
        else:  # a file that nobody else wants
            payload = Path(places[shard.path]).read_bytes()
            Path(places[shard.path]).unlink(missing_ok=True)
        seat = self._seat(job, places, roots)
        try:
            answer = seat.measured(Parcel(payload, places, roots))
        except BaseException:
            seat.end()
            raise
        self._idle.append(seat)
        return answer

    def release(self) -> None:
        """Ends the hosts that have nothing to do."""
        self._give_up(ABANDONED_SECONDS)
        while self._idle:
            self._idle.pop().end()

    def _give_up(self, seconds: float) -> None:
        """Leaves files of which nothing came for so long; those of other runs may be among them."""
        before = time.monotonic() - seconds
        for transfer, incoming in list(self._incoming.items()):
            if incoming.touched < before:
                self._incoming.pop(transfer, None)
                incoming.__exit__()

    def _seat(self, job: Job, places: Mapping[str, str], roots: Roots) -> _Seat:
        for seat in self._idle[:]:
            self._idle.remove(seat)
            if seat.setup == job.setup:
                return seat
            seat.end()  # of another run
        return _Seat(job, places, roots, self._folder)


class _Seat:
    """A host with the queue that its events come to, and the folder that it keeps audio in."""

    def __init__(self, job: Job, places: Mapping[str, str], roots: Roots, folder: Path) -> None:
        self.setup = job.setup
        self._folder = Path(tempfile.mkdtemp(prefix="rdbench-", dir=folder))
        self._audio = self._folder / "audio"
        self._audio.mkdir()
        payload = Path(places[job.setup.path]).read_bytes()
        here = {**places, **({job.audio: str(self._audio)} if job.audio else {})}
        setup = pickle.dumps(Parcel(payload, here, roots), pickle.HIGHEST_PROTOCOL)
        sys.path += [one for one in job.path if one not in sys.path and Path(one).is_dir()]
        beside = 0 if job.device == "cpu" else max(1, cores() // job.beside)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._host = Host(HostPlace(job.device, beside), setup, self._events, job.time_limit)
        # Before the end of this process waits for its children.
        self._finalizer = util.Finalize(self, self._host.end, exitpriority=10)

    def measured(self, shard: Parcel) -> Answer:
        """What comes of a shard."""
        answer = Answer()
        self._host.give(shard)
        while True:
            _, what, content = self._events.get()
            if what == RESULTS:
                answer.results += content
            elif what == SAY:
                answer.said.append(content)
            elif what in (DONE, LOST):
                break
        if what == LOST:
            answer.loss = content
        else:
            answer.seconds = content
        answer.made_with = self._host.made_with
        for path in self._audio.iterdir():
            answer.audio[path.name] = path.read_bytes()
            path.unlink()
        return answer

    def end(self) -> None:
        """Ends the host."""
        self._finalizer()
        shutil.rmtree(self._folder, ignore_errors=True)


def _no_room(error: OSError) -> str:
    folder = cache_folder().parent / FILES
    return (
        f"it cannot keep files in {folder} ({error.strerror or error}); make room there, or set "
        "RDBENCH_CACHE to another folder on that machine"
    )
