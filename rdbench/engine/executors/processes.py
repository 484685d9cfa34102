"""Several devices of one machine: one process for each, over disjoint clips, and one writer.

A lane is a process with its own device, models and share of the pool's workers; it runs the
evaluator as a run with one device does, on the batches that it is handed, and sends its rows here
as they come. A lane that dies is replaced, and the rest of its batches is done once more; where the
next one dies too, clip by clip, and then point by point, until what is left is to blame.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from rdbench.engine.local import ClipJob, Desk, Setup
from rdbench.engine.plan import PlannedClip, StepId, System, batches_of
from rdbench.engine.progress import Progress
from rdbench.engine.spread import fail_unbuilt

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from rdbench.engine.ledger import Ledger
    from rdbench.rate.trace import Trace
    from rdbench.store.schema import Row

TASKS = 4
"""Into how many tasks the clips of a lane are cut: enough that lanes end together, few enough that
a lane seldom waits for the last worker of one."""
TRIES = 2

_ROWS, _TRACE, _SAY, _DONE = "rows", "trace", "say", "done"


@dataclass(frozen=True)
class _Task:
    """Clips, all that is open of them or one step alone, and how often a lane has died of them."""

    clips: Sequence[PlannedClip]
    only: StepId | None = None
    deaths: int = 0

    def parts(self, steps: Iterable[StepId]) -> list[_Task]:
        """What to do after one more death; nothing where this is as small as it gets."""
        if self.deaths + 1 < TRIES:
            return [replace(self, deaths=self.deaths + 1)]
        if len(self.clips) > 1:
            return [_Task([clip], self.only, self.deaths) for clip in self.clips]
        if self.only is None:
            return [_Task(self.clips, step, self.deaths) for step in steps]
        return []


class _Lane:
    """One process and what it is doing."""

    def __init__(self, device: str, setup: bytes, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.device = device
        self.task: _Task | None = None
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=run_lane, args=(theirs, setup, device, workers), name=f"rdbench {device}"
        )
        self.process.start()
        theirs.close()

    def end(self) -> None:
        """Ends the process, at once."""
        self.connection.close()
        self.process.terminate()
        self.process.join()


class Lanes:
    """Measures every open step of the ledger on several devices; workers: of all together."""

    def __init__(
        self,
        devices: Sequence[str],
        setup: Setup,
        systems: Sequence[System],
        ledger: Ledger,
        progress: Progress,
        *,
        workers: int,
    ) -> None:
        self._setup = setup
        self._packed = pickle.dumps(setup, pickle.HIGHEST_PROTOCOL)
        self._systems = systems
        self._steps = {step.id: step for system in systems for step in system.steps}
        self._ledger = ledger
        self._progress = progress
        self._workers = max(1, workers // len(devices))
        self._devices = devices

    def run(self, clips: Sequence[PlannedClip]) -> None:
        """Evaluates `clips`, as `Spread.run` does."""
        for clip in clips:
            fail_unbuilt(self._systems, clip, self._ledger)
        waiting = deque(self._tasks(clips))
        used = self._devices[: len(waiting)]
        lanes = [_Lane(device, self._packed, self._workers) for device in used]
        try:
            for lane in lanes:
                self._hand(lane, waiting)
            while busy := [lane for lane in lanes if lane.task]:
                for connection in wait([lane.connection for lane in busy]):
                    index = next(i for i, lane in enumerate(lanes) if lane.connection is connection)
                    if not self._hear(lanes[index], waiting):
                        lanes[index] = self._replace(lanes[index], waiting)
        finally:
            for lane in lanes:
                lane.end()
        self._ledger.close(self._steps.values(), clips)

    def _tasks(self, clips: Sequence[PlannedClip]) -> list[_Task]:
        """Neighbouring batches together: a batch is then what it would be on one device."""
        opened = [clip for clip in clips if self._jobs(_Task([clip]))]
        longest = {name: one.excerpt_seconds for name, one in self._setup.protocols.items()}
        seconds = self._setup.settings.batch_seconds
        batches = batches_of(opened, seconds=seconds, longest=longest)
        size = math.ceil(len(batches) / (TASKS * len(self._devices)))
        groups = [batches[start : start + size] for start in range(0, len(batches), max(1, size))]
        return [_Task([clip for batch in group for clip in batch]) for group in groups]

    def _jobs(self, task: _Task) -> list[ClipJob]:
        jobs = []
        for clip in task.clips:
            wanted = self._ledger.wanted(self._steps.values(), clip)
            if task.only is not None:
                wanted = {step: asked for step, asked in wanted.items() if step == task.only}
            if wanted or self._ledger.wants_reference(clip):
                kept = self._ledger.kept_of(clip, [self._steps[step] for step in wanted])
                jobs.append(ClipJob(clip, wanted, kept))
        return jobs

    def _hand(self, lane: _Lane, waiting: deque[_Task]) -> None:
        lane.task = None
        while waiting and lane.task is None:
            task = waiting.popleft()
            if jobs := self._jobs(task):
                lane.task = task
                with contextlib.suppress(OSError):  # a dead lane is noticed when it is heard
                    lane.connection.send(jobs)

    def _hear(self, lane: _Lane, waiting: deque[_Task]) -> bool:
        """Takes one message; False where the lane has died."""
        try:
            what, content = lane.connection.recv()
        except (EOFError, OSError):
            return False
        if what == _ROWS:
            self._ledger.take(content)
            if content:
                self._progress.at(content[-1].system, content[-1].point)
        elif what == _TRACE:
            self._ledger.take_trace(*content)
        elif what == _SAY:
            self._progress.say(f"{lane.device}: {content}")
        else:
            self._hand(lane, waiting)
        return True

    def _replace(self, lane: _Lane, waiting: deque[_Task]) -> _Lane:
        lane.end()
        task = lane.task
        assert task is not None, "an idle lane is not heard"
        jobs = self._jobs(task)
        parts = task.parts([step for job in jobs for step in job.wanted])
        waiting.extendleft(reversed(parts))
        if not parts:
            reason = f"the process of {lane.device} died ({lane.process.exitcode})"
            for job in jobs:
                for step in job.wanted:
                    self._ledger.fail_step(self._steps[step], job.clip, reason)
        fresh = _Lane(lane.device, self._packed, self._workers)
        self._hand(fresh, waiting)
        return fresh


class _Sender(Progress):
    """Stands in for the writer and the progress in a lane."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, rows: Iterable[Row]) -> None:
        """Sends rows."""
        self._connection.send((_ROWS, list(rows)))

    def when_written(self, tell: Callable[[], None]) -> None:
        """The writer at the other end tells."""

    def trace(self, row: Row, trace: Trace) -> None:
        """Sends a trace."""
        self._connection.send((_TRACE, (row, trace)))

    def say(self, message: str) -> None:
        """Sends a line."""
        self._connection.send((_SAY, message))


def run_lane(connection: Connection, setup: bytes, device: str, workers: int) -> None:
    """A lane's process: evaluates what it is handed until the connection is closed."""
    from rdbench.engine.pool import worker_pool

    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        shared: Setup = pickle.loads(setup)
        own = replace(shared, settings=replace(shared.settings, device=device))
        desk, sender = Desk(own), _Sender(connection)
        with worker_pool(workers) as pool:
            while True:
                desk.evaluate(connection.recv(), sender, pool, sender)
                connection.send((_DONE, None))
