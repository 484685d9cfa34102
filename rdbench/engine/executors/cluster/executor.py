"""The executor of a cluster: shards go to the workers of a Dask scheduler, one at a time to each.

The run hands out shards itself and pins each to its worker, so that it knows what every worker
does: what a worker is lost with goes down the ladder as it would on one machine, to another worker.
Shards are cut so that a worker that is lost costs little (`…cluster.shares`).

Workers may come and go. A thread asks the scheduler every second who there is; a new worker is
greeted, and used if it has the versions that the run was planned with. One that does not answer for
`SILENT_SECONDS` is taken for lost; what it still brings later is not taken. All times are those of
this process's clock.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.engine.executors.base import Intake, Loss, after_loss
from rdbench.engine.executors.cluster import worker as there
from rdbench.engine.executors.cluster.files import ROOT_VARIABLE, NamedFile
from rdbench.engine.executors.cluster.packages import versions_here
from rdbench.engine.executors.cluster.parcels import pack
from rdbench.engine.executors.cluster.sender import Sender, Sending, is_file
from rdbench.engine.executors.cluster.shares import Coming, Pace
from rdbench.engine.measure.shard import Setup, Shard
from rdbench.types import ChangedError, RdbenchError

if TYPE_CHECKING:
    from rdbench.engine.executors.cluster.connect import Connection

WORKER_TRIES = 5
"""How many workers may be lost with the smallest shard before that has failed: they are lost for
many reasons that are not the shard's."""
WATCH_SECONDS = 1.0
"""How often the scheduler is asked who there is."""
SILENT_SECONDS = 120.0
"""After how long without a heartbeat a worker is taken for lost."""
GREETING_SECONDS = ANSWER_SECONDS = 60.0
RELEASE_SECONDS = 5.0
THREADS = 4
"""How many files are sent, and workers greeted, at the same time."""
STRIKES = 3
"""How often the process of a worker may not come to life, before it is not used any more."""
TIMES_SENT = 3
"""How often a worker may lack what was sent to it, before it is not used any more."""
INLINE_BYTES = 2**22
"""The largest shard that travels with its job; a larger one is a file."""
SAID_EVERY = 60.0
"""Seconds between lines about a run that waits for workers."""


@dataclass(eq=False)
class _Worker:
    """A worker of the cluster. heard: of its last heartbeat, and when that was, by our clock."""

    address: str
    slots: int
    heard: tuple[float, float]
    facts: there.Facts | None = None
    silent: bool = False
    busy: int = 0
    strikes: int = 0

    @property
    def usable(self) -> bool:
        """Whether it is given shards."""
        return self.facts is not None and not self.silent


@dataclass(eq=False)
class _Flight:
    """A shard on its way, and the worker that has it."""

    shard: Shard
    worker: _Worker
    job: there.Job
    future: Any = None
    waits: set[Sending] = field(default_factory=set)
    sent: int = 0


class Cluster:
    """The executor of a cluster.

    connect: leads to the scheduler, once there is work. device: of torch, on the workers. audio:
    the run's folder of kept audio, where audio is kept. wait_seconds: how long a run may be without
    workers. foreign: whether code runs that is no package of an installation.
    """

    def __init__(
        self,
        setup: Setup,
        connect: Callable[[], Connection],
        *,
        device: str = "cpu",
        audio: Path | None = None,
        wait_seconds: float = 900.0,
        foreign: bool = False,
    ) -> None:
        self._connect = connect
        self._device, self._audio = device, audio
        self._wait_seconds = wait_seconds
        self._time_limit = setup.timeout
        self._path = tuple(sys.path) if foreign else ()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="cluster")
        self._sender = Sender(self._pool, self._on, self._is_there)
        payload, named = pack(setup)
        self._setup = self._sender.blob(payload, "setup")
        self._setup_files = [self._sender.file(path) for path in sorted(named) if is_file(path)]
        self._versions = versions_here()
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._workers: dict[str, _Worker] = {}
        self._refused: dict[str, str] = {}
        self._flights: list[_Flight] = []
        self._greeted_ones: set[str] = set()
        self._pace = Pace()
        self._closed = threading.Event()
        self._connection: Connection | None = None
        self._said = 0.0
        self._alone_since: float | None = None

    def run(self, shards: Iterable[Shard], intake: Intake, *, at_once: int | None = None) -> None:
        """Measures `shards` (`rdbench.engine.executors.base.Executor`).

        Raises ClusterError where the scheduler is gone, and where there were no workers for too
        long; what was taken stays.
        """
        coming = Coming(shards)
        again: deque[tuple[Shard, str]] = deque()
        most = at_once or sys.maxsize
        if coming.is_empty():
            return
        if self._connection is None:
            self._connection = self._connect()
            threading.Thread(target=self._watch, daemon=True).start()
        while True:
            while len(self._flights) < most and (free := self._free()):
                found = self._again(again, free) or self._new(coming, free)
                if found is None:
                    break
                self._start(*found)
            if not self._flights and not again and coming.is_empty():
                return
            self._check_workers(intake)
            intake.at_work(self._at_work(), len(self._flights))
            try:
                what, content = self._events.get(timeout=0.2)  # lets Ctrl-C through
            except queue.Empty:
                intake.flush()
                continue
            again.extend(self._happened(what, content, intake))

    def close(self) -> None:
        """Leaves the workers; those that this run has started are ended."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._connection is None:
            return
        with suppress(Exception):  # of a scheduler that is gone
            self._client.sync(
                self._client._run,
                there.release,
                on_error="ignore",
                callback_timeout=RELEASE_SECONDS,
            )
        self._connection.close()

    @property
    def _client(self) -> Any:
        assert self._connection is not None
        return self._connection.client

    @property
    def _address(self) -> str:
        return self._connection.address if self._connection else ""

    # -- giving out shards

    def _free(self) -> list[_Worker]:
        """Workers with room, those that do least first."""
        if self._client.status != "running":
            return []
        with_room = [one for one in self._usable() if one.busy < one.slots]
        return sorted(with_room, key=lambda one: one.busy)

    def _again(
        self, again: deque[tuple[Shard, str]], free: list[_Worker]
    ) -> tuple[Shard, _Worker] | None:
        """Something that was lost; to another worker than the one that lost it, if there is one."""
        for number, (shard, loser) in enumerate(again):
            for worker in free:
                if worker.address != loser or self._at_work() == 1:
                    del again[number]
                    return shard, worker
        return None

    def _new(self, coming: Coming, free: list[_Worker]) -> tuple[Shard, _Worker] | None:
        slots = sum(one.slots for one in self._usable())
        shard = coming.next(self._pace.clips, slots)
        return (shard, free[0]) if shard else None

    def _start(self, shard: Shard, worker: _Worker) -> None:
        payload, _ = pack(shard)
        large = len(payload) > INLINE_BYTES
        packed = self._sender.blob(payload, "shard") if large else payload
        files = [*self._setup_files, *self._sender.files_of(shard)]
        if isinstance(packed, NamedFile):
            files.append(packed)
        machine = worker.facts.machine if worker.facts else ""
        beside = [w for w in self._workers.values() if w.facts and w.facts.machine == machine]
        job = there.Job(
            setup=self._setup,
            shard=packed,
            files=tuple(dict.fromkeys(files)),
            device=self._device,
            beside=max(1, len(beside)),
            time_limit=self._time_limit,
            root=os.environ.get(ROOT_VARIABLE, ""),
            audio=str(self._audio) if self._audio else "",
            path=self._path,
        )
        flight = _Flight(shard, worker, job)
        worker.busy += 1
        self._flights.append(flight)
        self._submit(flight)

    def _submit(self, flight: _Flight) -> None:
        job = pickle.dumps(flight.job, pickle.HIGHEST_PROTOCOL)
        flight.future = self._on(flight.worker.address, there.work, job)
        flight.future.add_done_callback(partial(self._note, ("done", flight)))

    def _note(self, event: tuple[str, Any], _: object) -> None:
        self._events.put(event)

    def _on(self, address: str, function: Any, *arguments: Any, **named: Any) -> Any:
        """A future of Dask's of a call on one worker."""
        return self._client.submit(
            function, *arguments, **named, workers=[address], allow_other_workers=False,
            pure=False, retries=0, key=f"rdbench-{uuid.uuid4().hex}",
        )  # fmt: skip

    # -- taking what comes

    def _happened(self, what: str, content: Any, intake: Intake) -> list[tuple[Shard, str]]:
        """Takes an event; what is to be tried again, with the worker that lost it."""
        if what == "workers":
            return self._seen(content, intake)
        if what == "greeted":
            address, facts = content
            self._greeted(address, facts, intake)
        elif what == "gone":
            raise ClusterError(
                f"the scheduler at {self._address} does not answer any more; what was measured is "
                "kept, run the same command again when there is one"
            )
        elif what == "sent":
            flight, sending = content
            return self._sent(flight, sending, intake)
        elif content in self._flights:
            return self._done(content, intake)
        return []

    def _done(self, flight: _Flight, intake: Intake) -> list[tuple[Shard, str]]:
        try:
            answer: there.Answer = pickle.loads(flight.future.result(timeout=ANSWER_SECONDS))
        except Exception as error:  # of Dask's, or of what it could not load there
            if self._client.status == "running":
                return self._lost(flight, f"{type(error).__name__}: {error}", intake)
            self._end(flight)  # the scheduler is gone, which is nobody's loss
            return [(flight.shard, "")]
        if answer.missing and flight.worker.facts and flight.sent < TIMES_SENT:
            self._send(flight, answer.missing)
            return []
        self._end(flight)
        if problem := self._problem(answer, flight.worker):
            flight.worker.strikes += 1
            if answer.loss is None or flight.worker.strikes == STRIKES:
                self._refuse(flight.worker, problem, intake)
            return [(flight.shard, flight.worker.address)]
        self._take(answer, intake)
        if answer.loss is None:
            self._pace.took(flight.shard, answer.seconds)
            return []
        parts = after_loss(flight.shard, answer.loss, intake)
        return [(part, flight.worker.address) for part in parts]

    def _problem(self, answer: there.Answer, worker: _Worker) -> str:
        """Why a worker is not used any more, or ""."""
        if answer.missing:
            return f"it does not keep what is sent to it ({answer.missing[0].path})"
        others = any(one is not worker for one in self._usable())
        if answer.loss is not None and answer.loss.final and others:
            return answer.loss.reason
        return answer.problem

    def _take(self, answer: there.Answer, intake: Intake) -> None:
        for name, content in answer.audio.items():
            self._keep(name, content)
        for line in answer.said:
            intake.say(line)
        if answer.results:
            intake.take(answer.results, provenance=answer.made_with)

    def _lost(self, flight: _Flight, why: str, intake: Intake) -> list[tuple[Shard, str]]:
        """The worker was lost, or the call was."""
        self._end(flight)
        loss = Loss(f"its worker was lost, each time that it was tried ({why})", tries=WORKER_TRIES)
        parts = after_loss(flight.shard, loss, intake)
        return [(part, flight.worker.address) for part in parts]

    def _end(self, flight: _Flight) -> None:
        self._flights.remove(flight)
        flight.worker.busy -= 1
        if isinstance(flight.job.shard, NamedFile):
            self._sender.forget(flight.job.shard)

    def _keep(self, name: str, content: bytes) -> None:
        from rdbench.store.atomic import write_atomic

        if self._audio is not None and Path(name).name == name:
            write_atomic(self._audio / name, content, within=self._audio.parent)

    # -- files

    def _send(self, flight: _Flight, files: Iterable[NamedFile]) -> None:
        """Sends files to a worker, or waits for those that are on their way to its cache."""
        worker = flight.worker
        assert worker.facts is not None
        flight.sent += 1
        cache, again = worker.facts.cache, flight.sent > 1
        flight.waits = {
            self._sender.send(worker.address, cache, file, again=again) for file in files
        }
        for sending in list(flight.waits):
            event = "sent", (flight, sending)
            sending.problem.add_done_callback(partial(self._note, event))

    def _sent(self, flight: _Flight, sending: Sending, intake: Intake) -> list[tuple[Shard, str]]:
        self._sender.ended(sending)
        if flight not in self._flights or sending not in flight.waits:
            return []
        flight.waits.discard(sending)
        problem = sending.problem.result()
        if problem == there.CHANGED:
            self._end(flight)
            changed = str(ChangedError.of("a file that is needed for it"))
            parts = after_loss(flight.shard, Loss(changed), intake)
            return [(part, "") for part in parts]
        if problem and sending.address == flight.worker.address:
            self._end(flight)
            self._refuse(flight.worker, problem, intake)
            return [(flight.shard, flight.worker.address)]
        if not flight.waits:
            self._submit(flight)
        return []

    # -- workers

    def _watch(self) -> None:
        """Asks the scheduler who there is, and has greeted who is new; a thread of its own."""
        while not self._closed.is_set():
            try:
                found = self._client.scheduler_info(n_workers=-1)["workers"]
            except Exception:  # Dask's, of a connection that is gone; it tries to mend that
                if self._client.status not in ("running", "connecting"):
                    self._events.put(("gone", None))
                    return
            else:
                self._events.put(("workers", found))
                self._greeted_ones &= found.keys()
                for address in found.keys() - self._greeted_ones:
                    self._greeted_ones.add(address)
                    self._pool.submit(self._greet, address)
            self._closed.wait(WATCH_SECONDS)

    def _greet(self, address: str) -> None:
        try:
            found = self._client.sync(
                self._client._run, there.greet, workers=[address], on_error="return",
                callback_timeout=GREETING_SECONDS,
            )  # fmt: skip
            self._events.put(("greeted", (address, found.get(address))))
        except Exception:  # of Dask's: nobody answers
            self._greeted_ones.discard(address)

    def _seen(self, found: Mapping[str, Any], intake: Intake) -> list[tuple[Shard, str]]:
        """Takes note of who there is; the shards of those that are not any more."""
        now = time.monotonic()
        for address, told in found.items():
            beat = float(told["last_seen"])
            if address not in self._workers:
                self._workers[address] = _Worker(address, int(told["nthreads"]), (beat, now))
            known = self._workers[address]
            if beat != known.heard[0]:
                known.heard = beat, now
        again = []
        for address, known in list(self._workers.items()):
            was = known.silent
            known.silent = now - known.heard[1] > SILENT_SECONDS
            gone = address not in found
            if gone:
                del self._workers[address]
                self._refused.pop(address, None)
            busy = [one for one in self._flights if one.worker is known]
            if (known.facts or busy) and (gone or (known.silent and not was)):
                what = "is gone" if gone else f"was not heard of for {SILENT_SECONDS:g} s"
                log = self._connection.last_words() if self._connection else ""
                intake.say(f"the worker {address} {what}{f': {log}' if log else ''}")
                for flight in busy:
                    flight.future.cancel()
                    again += self._lost(flight, what, intake)
        return again

    def _greeted(self, address: str, facts: Any, intake: Intake) -> None:
        known = self._workers.get(address)
        if known is None:
            return
        if not isinstance(facts, there.Facts):
            said = f"{type(facts).__name__}: {facts}" if facts is not None else "it did not answer"
            self._refuse(known, f"it cannot run rdbench ({said}); install it there", intake)
        elif facts.problem:
            self._refuse(known, facts.problem, intake)
        elif other := _differences(self._versions, facts.versions):
            self._refuse(
                known, f"it has {other}, and its numbers may differ; install the same there", intake
            )
        else:
            known.facts = facts

    def _refuse(self, worker: _Worker, why: str, intake: Intake) -> None:
        if worker.address in self._refused:  # for another shard that it had in hand
            return
        worker.facts = None
        self._refused[worker.address] = why
        intake.say(f"the worker {worker.address} is not used: {why}")

    def _usable(self) -> list[_Worker]:
        return [one for one in self._workers.values() if one.usable]

    def _at_work(self) -> int:
        """How many workers can be used."""
        return len(self._usable())

    def _is_there(self, address: str) -> bool:
        """Whether a worker may still answer; asked by other threads, too."""
        worker = self._workers.get(address)
        return worker is not None and not worker.silent and not self._closed.is_set()

    def _check_workers(self, intake: Intake) -> None:
        """Says that there are no workers, and ends a run that has waited too long for some."""
        now = time.monotonic()
        if self._at_work():
            self._alone_since = None
            return
        if self._alone_since is None:
            self._alone_since = self._said = now
            if self._workers:
                return
        waited = now - self._alone_since
        why = "; ".join(dict.fromkeys(self._refused.values()))
        if waited > self._wait_seconds:
            raise ClusterError(
                f"there was no worker at {self._address} for {self._wait_seconds:g} s"
                f"{f' that can be used ({why})' if why else ''}; what was measured is kept, run "
                "the same command again when there are some"
            )
        if now - self._said >= min(SAID_EVERY, self._wait_seconds / 2):
            self._said = now
            intake.say(
                f"no worker at {self._address} for {waited:.0f} s; the run ends after "
                f"{self._wait_seconds:g} s without one"
            )


class ClusterError(RdbenchError):
    """A cluster that cannot be used, or is gone."""


def _differences(here: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What a worker has of other versions, or "". What is not installed here, no key has."""
    return ", ".join(
        f"{name} {found.get(name, 'not installed')} (here {version})"
        for name, version in here.items()
        if found.get(name, "not installed") != version
    )
