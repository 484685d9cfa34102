"""The pool of worker processes beside a device, with a time limit per job and a bounded queue.

A worker that dies (a crash in a codec's or a metric's native code) or runs past its time limit is
replaced; the job is tried as often as was asked for and then reported as lost, with the reason.
Limits go by the monotonic clock, which stands still while the machine sleeps and knows no jumps of
the time of day; the pool of the package goes by that.
The results of finished jobs are handed to their callbacks in the thread that calls `drain`.
`AtOnce` does the same jobs in the process itself, where that is a worker already.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.engine.executors.servers import enter, start_server, surroundings

if TYPE_CHECKING:
    from pebble import ProcessFuture, ProcessPool

# Jobs that may wait for a worker: enough to keep every worker fed, few enough that the audio they
# carry does not grow with the corpus.
QUEUED_PER_WORKER = 4
# How often a job may be aborted by the end of another's worker before it is given up.
ABORTED = 5


@dataclass(eq=False)
class _Job:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    timeout: float
    done: Callable[[Any], None]
    lost: Callable[[str], None]
    tries: int
    deaths: int = 0
    aborted: int = 0
    began: float | None = None
    late: bool = False


class WorkerPool:
    """Runs jobs in `workers` processes; callbacks run in the thread that calls `drain`.

    idle: called now and then while that thread waits.

    Callbacks may submit jobs: those wait in a backlog, so that no callback ever blocks or nests.
    """

    here = False

    def __init__(self, workers: int, idle: Callable[[], None] | None = None) -> None:
        self.workers = workers
        self._idle = idle
        self._limit = workers * (1 + QUEUED_PER_WORKER)
        self._processes: ProcessPool | None = None
        self._finished: queue.SimpleQueue[tuple[_Job, Any]] = queue.SimpleQueue()
        self._backlog: deque[_Job] = deque()
        self._flying: dict[ProcessFuture, _Job] = {}
        self._running = 0
        self._draining = False

    @property
    def outstanding(self) -> int:
        """Jobs submitted whose callback has not run yet."""
        return self._running + len(self._backlog)

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        timeout: float,
        done: Callable[[Any], None],
        lost: Callable[[str], None],
        tries: int = 2,
    ) -> None:
        """Queues a job; outside of a callback, waits until it is on its way to a worker.

        timeout: seconds of running time. done(result) or lost(reason) is called later, once.
        tries: workers that the job may end before it is lost.
        """
        self._backlog.append(_Job(function, arguments, timeout, done, lost, tries))
        self._pump()
        while self._backlog and not self._draining:
            self.drain(block=True)

    def drain(self, *, block: bool = False) -> None:
        """Runs the callbacks of finished jobs; with `block`, waits for at least one."""
        if self._draining:
            return
        self._draining = True
        self._end_late_ones()
        try:
            if block and self._running:
                self._finish(*self._get())
            with contextlib.suppress(queue.Empty):
                while True:
                    self._finish(*self._finished.get_nowait())
        finally:
            self._draining = False
        self._pump()

    def wait(self) -> None:
        """Runs callbacks until no job is outstanding."""
        while self.outstanding:
            self.drain(block=True)

    def stop(self) -> None:
        """Kills the workers; what they were doing is lost to them, not to the store."""
        self._end()

    def _end(self) -> None:
        if self._processes is not None:
            self._processes.stop()
            self._processes.join()
            self._processes = None

    def _get(self) -> tuple[_Job, Any]:
        # A short timeout in a loop lets Ctrl-C through on every platform.
        while True:
            if self._idle:
                self._idle()
            self._end_late_ones()
            with contextlib.suppress(queue.Empty):
                return self._finished.get(timeout=0.2)

    def _end_late_ones(self) -> None:
        """Ends the workers of jobs that take longer than they may, from when they were seen."""
        now = time.monotonic()
        for future, job in list(self._flying.items()):
            if not future.running():
                continue
            if job.began is None:
                job.began = now
            elif now - job.began > job.timeout:
                job.late = True
                future.cancel()

    def _pump(self) -> None:
        while self._backlog and self._running < self._limit:
            self._running += 1
            self._start(self._backlog.popleft())

    def _start(self, job: _Job) -> None:
        try:
            future = self._schedule(job)
        except RuntimeError:
            # The pool itself broke, as it does when a worker dies with a message half sent.
            self._end()
            future = self._schedule(job)
        job.began = None
        self._flying[future] = job
        future.add_done_callback(lambda finished: self._finished.put((job, finished)))

    def _schedule(self, job: _Job) -> ProcessFuture:
        if self._processes is None:  # they are started by the first job
            self._processes = _processes(self.workers)
        return self._processes.schedule(job.function, args=job.arguments)

    def _finish(self, job: _Job, future: Any) -> None:
        self._flying.pop(future, None)
        try:
            answer = future.result()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # workers send back whatever was raised, SystemExit too
            if _try_again(job, error):
                self._start(job)
                return
            self._running -= 1
            job.lost(_reason(error, job))
            return
        self._running -= 1
        job.done(answer)


def _processes(workers: int) -> ProcessPool:
    from pebble import ProcessPool

    return ProcessPool(
        max_workers=workers, context=start_server(), initializer=enter, initargs=surroundings()
    )


def _try_again(job: _Job, error: BaseException) -> bool:
    from pebble import ProcessExpired

    if job.late:
        return False
    if isinstance(error, ProcessExpired):
        job.deaths += 1
        return job.deaths < job.tries
    if isinstance(error, BrokenExecutor | CancelledError):
        job.aborted += 1  # the pool broke under it; whose fault that was is not known
        return job.aborted < ABORTED
    return False


def _reason(error: BaseException, job: _Job) -> str:
    if job.late:
        limit = f"{job.timeout:g} s (timeouts.unit_seconds)"
        return f"no answer within {limit}; its worker was ended"
    if job.deaths:
        return f"its worker process died, each time that it was tried ({error})"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def worker_pool(workers: int, idle: Callable[[], None] | None = None) -> Iterator[WorkerPool]:
    """A pool that is stopped on the way out, at once on an exception or Ctrl-C."""
    pool = WorkerPool(workers, idle)
    try:
        yield pool
    finally:
        pool.stop()


class AtOnce:
    """Stands in for the pool in a process that is a worker itself: a job is done by `submit`."""

    here = True

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        timeout: float,
        done: Callable[[Any], None],
        lost: Callable[[str], None],
        tries: int = 2,
    ) -> None:
        """Runs the job; what it raises is why it is lost."""
        try:
            result = function(*arguments)
        except (Exception, SystemExit) as error:
            lost(f"{type(error).__name__}: {error}")
            return
        done(result)

    def drain(self, *, block: bool = False) -> None:
        """Nothing waits."""

    def wait(self) -> None:
        """Nothing waits."""

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be ended."""
