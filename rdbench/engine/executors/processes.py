"""Processes of this machine: workers on its cores, or one process for each of its devices.

Each has a host (`rdbench.engine.executors.host`); the caller's thread hands out shards and takes
what comes. What a host has lost goes to another that has nothing to do, and the last try to another
in any case. One that cannot be started is left out.

One rule shares the cores among torch, numba, BLAS and the processes: threads × processes = cores.

- On a CPU there are cores / `protocol.threads` hosts, each with the protocol's threads of torch (a
  result may depend on that number, so that it is part of the protocol) and one of everything else.
- On a GPU a host feeds its device with `protocol.threads` threads, and as many workers as there are
  cores, shared among the hosts, run the rest with one thread each.

`--workers` changes the number of processes, never that of threads, and no result.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rdbench.engine.executors.base import Intake, Loss, after_loss
from rdbench.engine.executors.host import AT, DONE, RESULTS, SAY, Event, Host, HostPlace

if TYPE_CHECKING:
    from rdbench.engine.measure.shard import Setup, Shard

SHARDS_PER_DEVICE = 4
"""Into how many shards the clips of a device are cut: enough that devices end together, few enough
that a device seldom waits for the last worker of one."""


class Processes:
    """The executor of one machine."""

    def __init__(self, setup: Setup, places: Sequence[HostPlace], *, time_limit: float) -> None:
        self._packed = setup.packed()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._hosts = [Host(place, self._packed, self._events, time_limit) for place in places]
        self._busy: dict[Host, Shard] = {}

    def run(self, shards: Iterable[Shard], intake: Intake, *, at_once: int | None = None) -> None:
        """Measures `shards` (`rdbench.engine.executors.base.Executor`)."""
        coming = iter(shards)
        again: deque[tuple[Shard, Host]] = deque()
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
            if what == RESULTS:
                intake.take(content)
            elif what == AT:
                intake.at(*content)
            elif what == SAY:
                intake.say(content)
            elif what == DONE:
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
        self, idle: Iterable[Host], lost: deque[tuple[Shard, Host]]
    ) -> tuple[Host, Shard] | None:
        """Something that was lost, and who tries it; the last try is another's, if there is one."""
        for place, (shard, loser) in enumerate(lost):
            for host in idle:
                if host is not loser or not shard.losses or len(self._hosts) == 1:
                    del lost[place]
                    return host, shard
        return None

    def _leave_out(self, host: Host, loss: Loss, intake: Intake) -> None:
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
