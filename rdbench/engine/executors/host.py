"""A host: one process with what it needs between shards, and the thread that speaks with it.

It has codecs, metrics and its device. Beside a device, packet codecs and the metrics of packages
run in worker processes of the host's own (`rdbench.engine.executors.pool`); a host on a core does
everything itself. The thread keeps a long message or a slow start from holding up whoever gives
out shards; what comes of them is put as events into the queue that the host was made with. A host
that dies is started anew for its next shard.

Importing this loads no torch: whoever starts a host need not be able to measure.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from rdbench.engine.executors import watch
from rdbench.engine.executors.base import Loss
from rdbench.engine.executors.servers import enter, start_server, surroundings
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from rdbench.engine.executors.cluster.parcels import Parcel
    from rdbench.engine.measure.shard import Shard
    from rdbench.engine.measure.work import Result

BUILD_SECONDS = 900.0
"""How long a process may take to import and to build codecs, which no clip is charged for."""
GRACE_SECONDS = 2.0
"""How long a process that has nothing to do may take to end its workers."""

_BUILDING, _READY, _RAISED, _BROKEN = "building", "ready", "raised", "broken"
RESULTS, AT, SAY, DONE, LOST = "results", "at", "say", "done", "lost"
"""What events tell: results; where the work has come to; a line; that a shard has ended as it
should, with the seconds that it took; why it was lost (`Loss`)."""

Event = tuple["Host", str, Any]


@dataclass(frozen=True)
class HostPlace:
    """Where a host runs. device: of torch. workers: processes beside it, 0 for a host on a core."""

    device: str
    workers: int = 0


class Host:
    """One process, the thread that speaks with it, and what it was given.

    setup: a pickle of the run's `Setup`. made_with: the provenance of what it measures, once it is
    ready (`rdbench.engine.environment.provenance`).
    """

    def __init__(
        self,
        place: HostPlace,
        setup: bytes,
        events: queue.SimpleQueue[Event],
        time_limit: float,
    ) -> None:
        self.made_with: tuple[str, dict[str, Any]] = ("", {})
        self._place = place
        self._setup = setup
        self._events = events
        self._time_limit = time_limit
        self._given: queue.SimpleQueue[Shard | Parcel | None] = queue.SimpleQueue()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._ready = self._ended = False
        self._building = ""
        self._unbuilt: dict[str, str] = {}
        self._guard = threading.Lock()

    def give(self, shard: Shard | Parcel) -> None:
        """Hands over a shard, or what unpickles as one; what comes of it comes as events."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._speak, daemon=True)
            self._thread.start()
        self._given.put(shard)

    def dismiss(self) -> None:
        """Lets an idle process end its workers, and what it shares with them."""
        if self._place.workers and self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.join(GRACE_SECONDS)

    def end(self) -> None:
        """Ends the process."""
        with self._guard:
            self._ended = True
            process = self._process
        self._given.put(None)
        if process is not None:
            process.kill()
            process.join()

    def _speak(self) -> None:
        while (shard := self._given.get()) is not None:
            loss = self._measured(shard)
            if loss is not None:
                self._events.put((self, LOST, loss))

    def _measured(self, shard: Shard | Parcel) -> Loss | None:
        """Has a shard measured; why it was lost, or None where it ended as it should.

        A codec that ends the process while it is built is left out of the next one.
        """
        where = f"the process for {self._place.device}"
        while True:
            try:
                connection = self._connected()
            except Exception as error:  # whatever starting raises, the shard goes to another
                reason = f"{where} could not be started: {type(error).__name__}: {error}"
                return Loss(reason, final=True)
            try:
                return self._through(connection, shard)
            except (EOFError, OSError):
                code = self._exit_code()
                if not self._building:
                    return self._why_it_died(code)
                self._unbuilt[self._building] = self._why_it_is_not_built(code)
            except Exception as error:  # what is half read is of no use to the next shard
                self._abandon()
                return Loss(f"{where} was not understood: {type(error).__name__}: {error}")

    def _through(self, connection: Connection, shard: Shard | Parcel) -> Loss | None:
        """Speaks of a shard with the process; raises EOFError or OSError where that has died."""
        connection.send(shard)
        while True:
            what, content = connection.recv()
            if what == _BUILDING:
                self._building = content
            elif what == _READY:
                self._ready, self._building, self.made_with = True, "", content
            elif what == _BROKEN:
                self._abandon()
                return Loss(content, final=True)
            elif what == _RAISED:
                return Loss(content)
            else:
                self._events.put((self, what, content))
                if what == DONE:
                    return None

    def _connected(self) -> Connection:
        if self._connection is None:
            with self._guard:
                if self._ended:
                    raise EOFError
                self._connection = self._start()
        return self._connection

    def _start(self) -> Connection:
        # The server has never used a device, so that what is forked from it may.
        context = start_server()
        ours, theirs = context.Pipe()
        arguments = (theirs, self._setup, self._place, self._unbuilt, surroundings())
        process = context.Process(
            target=serve, args=arguments, name=f"rdbench {self._place.device}"
        )
        process.start()
        theirs.close()
        self._process, self._ready, self._building = process, False, ""
        connection: Connection = ours
        return connection

    def _exit_code(self) -> int | None:
        """The exit code of a process that has died."""
        process = self._process
        assert process is not None
        process.join(timeout=5.0)
        self._abandon()
        return process.exitcode

    def _why_it_died(self, code: int | None) -> Loss:
        if watch.ran_out(code) and not self._ready:
            limit = f"{BUILD_SECONDS:g} s"
            return Loss(
                f"the process for {self._place.device} was not set up within {limit}", final=True
            )
        if watch.ran_out(code):
            limit = f"{self._time_limit:g} s (timeouts.unit_seconds)"
            return Loss(f"no answer within {limit}; its worker was ended", timed_out=True)
        return Loss(f"its worker process died, each time that it was tried ({_said(code)})")

    def _why_it_is_not_built(self, code: int | None) -> str:
        what = f"{self._building} cannot be built on {self._place.device}"
        if watch.ran_out(code):
            return f"{what}: it was not done within {BUILD_SECONDS:g} s"
        return f"{what}: its process died ({_said(code)})"

    def _abandon(self) -> None:
        """Ends what is left of the process; the next shard starts another."""
        process, self._process = self._process, None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if process is not None:
            process.kill()
            process.join()


def _said(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"


class _Sender:
    """The sink of a host: the connection to who gave the shard."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def deliver(self, results: Sequence[Result]) -> None:
        """Sends results."""
        self._connection.send((RESULTS, list(results)))

    def at(self, system: str, point: str) -> None:
        """Sends where the work has come to."""
        self._connection.send((AT, (system, point)))

    def say(self, message: str) -> None:
        """Sends a line."""
        self._connection.send((SAY, message))


def serve(
    connection: Connection,
    setup: bytes,
    place: HostPlace,
    unbuilt: Mapping[str, str],
    around: tuple[dict[str, str], list[str]],
) -> None:
    """A host's process: measures what it is given until the connection is closed."""
    from rdbench.engine.environment import provenance
    from rdbench.engine.executors.pool import AtOnce, worker_pool
    from rdbench.engine.measure.measure import measure
    from rdbench.engine.measure.workshop import Workshop

    def building(name: str) -> None:
        watch.arm(BUILD_SECONDS)
        connection.send((_BUILDING, name))

    enter(*around)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        watch.arm(BUILD_SECONDS)
        try:
            workshop = Workshop(setup, place.device, rest=watch.arm)
            workshop.build(alone=not place.workers, unbuilt=unbuilt, tell=building)
        except Exception as error:  # told to the parent, which has the ladder
            reason = f"the process for {place.device} could not be set up"
            connection.recv()
            connection.send((_BROKEN, f"{reason}: {type(error).__name__}: {error}"))
            return
        watch.disarm()
        connection.send((_READY, provenance(place.device)))
        sender = _Sender(connection)
        with AtOnce() if not place.workers else worker_pool(place.workers, workshop.beat) as jobs:
            while True:
                shard: Shard = connection.recv()
                began = time.monotonic()
                try:
                    measure(shard, workshop, jobs, sender)
                    ended: tuple[str, Any] = (DONE, time.monotonic() - began)
                except (BrokenPipeError, ConnectionResetError):
                    raise
                except RdbenchError as error:
                    ended = (_RAISED, str(error))
                except Exception as error:  # the shard's loss, and not the process's
                    ended = (_RAISED, f"{type(error).__name__}: {error}")
                watch.disarm()
                connection.send(ended)
