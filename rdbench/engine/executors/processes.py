"""Processes of this machine: workers on its cores, or one process for each of its devices.

A host is one process with what it needs between shards: codecs, metrics, its device. Beside a
device, packet codecs and the metrics of packages run in worker processes of the host's own
(`rdbench.engine.executors.pool`); a host on a core does everything itself. A thread for each host
speaks with it, so that a long message or a slow start holds up no other; the caller's thread hands
out shards and takes what comes. A host that dies is started anew for its next shard; what it has
lost goes to another that has nothing to do, and the last try to another in any case. One that
cannot be started is left out.

One rule shares the cores among torch, numba, BLAS and the processes: threads × processes = cores.

- On a CPU there are cores / `protocol.threads` hosts, each with the protocol's threads of torch (a
  result may depend on that number, so that it is part of the protocol) and one of everything else.
- On a GPU a host feeds its device with `protocol.threads` threads, and as many workers as there are
  cores, shared among the hosts, run the rest with one thread each.

`--workers` changes the number of processes, never that of threads, and no result.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from rdbench.engine.executors import watch
from rdbench.engine.executors.base import Intake, Loss, after_loss
from rdbench.engine.executors.servers import enter, start_server, surroundings
from rdbench.engine.measure.measure import measure
from rdbench.engine.measure.shard import Setup, Shard
from rdbench.engine.measure.workshop import Workshop
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from rdbench.engine.measure.work import Result

BUILD_SECONDS = 900.0
"""How long a process may take to import and to build codecs, which no clip is charged for."""
GRACE_SECONDS = 2.0
"""How long a process that has nothing to do may take to end its workers."""
SHARDS_PER_DEVICE = 4
"""Into how many shards the clips of a device are cut: enough that devices end together, few enough
that a device seldom waits for the last worker of one."""

_BUILDING, _READY = "building", "ready"
_RESULTS, _AT, _SAY, _DONE = "results", "at", "say", "done"
_RAISED, _BROKEN, _LOST = "raised", "broken", "lost"


@dataclass(frozen=True)
class HostPlace:
    """Where a host runs. device: of torch. workers: processes beside it, 0 for a host on a core."""

    device: str
    workers: int = 0


class Processes:
    """The executor of one machine."""

    def __init__(self, setup: Setup, places: Sequence[HostPlace], *, time_limit: float) -> None:
        self._packed = setup.packed()
        self._events: queue.SimpleQueue[tuple[_Host, str, Any]] = queue.SimpleQueue()
        self._hosts = [_Host(place, self._packed, self._events, time_limit) for place in places]
        self._busy: dict[_Host, Shard] = {}

    def run(self, shards: Iterable[Shard], intake: Intake, *, at_once: int | None = None) -> None:
        """Measures `shards` (`rdbench.engine.executors.base.Executor`)."""
        coming, again = iter(shards), deque[tuple[Shard, _Host]]()
        idle, busy = deque(self._hosts), self._busy
        most = at_once or len(self._hosts)
        while True:
            while idle and len(busy) < most:
                found = self._again(idle, again) or next(((idle[0], one) for one in coming), None)
                if found is None:
                    break
                host, shard = found
                idle.remove(host)
                busy[host] = shard
                host.give(shard)
            if not busy:
                return
            try:
                host, what, content = self._events.get(timeout=0.2)  # lets Ctrl-C through
            except queue.Empty:
                intake.flush()
                continue
            if what == _RESULTS:
                intake.take(content)
            elif what == _AT:
                intake.at(*content)
            elif what == _SAY:
                intake.say(content)
            elif what == _DONE:
                del busy[host]
                idle.appendleft(host)
            elif content.final and len(self._hosts) > 1:
                again.appendleft((busy.pop(host), host))
                self._leave_out(host, content, intake)
            else:
                parts = after_loss(busy.pop(host), content, intake)
                idle.append(host)  # others come first
                again.extendleft((part, host) for part in reversed(parts))

    def _again(
        self, idle: Iterable[_Host], lost: deque[tuple[Shard, _Host]]
    ) -> tuple[_Host, Shard] | None:
        """Something that was lost, and who tries it; the last try is another's, if there is one."""
        for place, (shard, loser) in enumerate(lost):
            for host in idle:
                if host is not loser or not shard.losses or len(self._hosts) == 1:
                    del lost[place]
                    return host, shard
        return None

    def _leave_out(self, host: _Host, loss: Loss, intake: Intake) -> None:
        """Leaves the work of a host that cannot be started, which would fail all, to the others."""
        self._hosts.remove(host)
        host.end()
        intake.say(f"{loss.reason}; its work goes to the others")

    def close(self) -> None:
        """Ends every process; one that has workers and nothing to do ends these first."""
        for host in self._hosts:
            if host not in self._busy:
                host.dismiss()
        for host in self._hosts:
            host.end()


class _Host:
    """One process, the thread that speaks with it, and what it was given."""

    def __init__(
        self,
        place: HostPlace,
        setup: bytes,
        events: queue.SimpleQueue[tuple[_Host, str, Any]],
        time_limit: float,
    ) -> None:
        self._place = place
        self._setup = setup
        self._events = events
        self._time_limit = time_limit
        self._given: queue.SimpleQueue[Shard | None] = queue.SimpleQueue()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._ready = self._ended = False
        self._building = ""
        self._unbuilt: dict[str, str] = {}
        self._guard = threading.Lock()

    def give(self, shard: Shard) -> None:
        """Hands over a shard; what comes of it comes as events."""
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
                self._events.put((self, _LOST, loss))

    def _measured(self, shard: Shard) -> Loss | None:
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

    def _through(self, connection: Connection, shard: Shard) -> Loss | None:
        """Speaks of a shard with the process; raises EOFError or OSError where that has died."""
        connection.send(shard)
        while True:
            what, content = connection.recv()
            if what == _BUILDING:
                self._building = content
            elif what == _READY:
                self._ready, self._building = True, ""
            elif what == _BROKEN:
                self._abandon()
                return Loss(content, final=True)
            elif what == _RAISED:
                return Loss(content)
            else:
                self._events.put((self, what, content))
                if what == _DONE:
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
        self._connection.send((_RESULTS, list(results)))

    def at(self, system: str, point: str) -> None:
        """Sends where the work has come to."""
        self._connection.send((_AT, (system, point)))

    def say(self, message: str) -> None:
        """Sends a line."""
        self._connection.send((_SAY, message))


def serve(
    connection: Connection,
    setup: bytes,
    place: HostPlace,
    unbuilt: Mapping[str, str],
    around: tuple[dict[str, str], list[str]],
) -> None:
    """A host's process: measures what it is given until the connection is closed."""
    from rdbench.engine.executors.pool import AtOnce, worker_pool

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
        connection.send((_READY, None))
        sender = _Sender(connection)
        with AtOnce() if not place.workers else worker_pool(place.workers, workshop.beat) as jobs:
            while True:
                shard: Shard = connection.recv()
                ended: tuple[str, str | None] = (_DONE, None)
                try:
                    measure(shard, workshop, jobs, sender)
                except (BrokenPipeError, ConnectionResetError):
                    raise
                except RdbenchError as error:
                    ended = (_RAISED, str(error))
                except Exception as error:  # the shard's loss, and not the process's
                    ended = (_RAISED, f"{type(error).__name__}: {error}")
                watch.disarm()
                connection.send(ended)
