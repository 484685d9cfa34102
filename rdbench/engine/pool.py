"""The pool of long-lived worker processes, with a time limit per job and a bounded queue.

A worker that dies (a crash in a codec's or a metric's native code) or runs past its time limit is
replaced; the job is tried as often as was asked for and then reported as lost, with the reason.
The results of finished jobs are handed to their callbacks in the engine's own thread, by `drain`.

One rule shares the cores among torch, numba, BLAS and the workers: threads × processes = cores.

- On a CPU everything runs in workers, each with `protocol.threads` threads of torch (a result may
  depend on that number, so that it is part of the protocol) and one of everything else. There are
  cores / `protocol.threads` of them; the engine's own process only hands out clips and writes.
- On a GPU the engine's process feeds the device with `protocol.threads` threads, and as many
  workers as there are cores run packet codecs and reference packages, with one thread each.

`--workers` changes the number of processes, never that of threads, and no result. `--device`
chooses between the two ways. `--batch-seconds` is the audio in one batch of a GPU; on a CPU a clip
is a batch. The manifest records all of it under `execution`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from multiprocessing.forkserver import ensure_running
from typing import TYPE_CHECKING, Any, Protocol

from rdbench.engine.parcel import Parcel, pack, unpack
from rdbench.engine.worker import THREAD_VARIABLES, run_parcel, start_worker

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from pebble import ProcessPool

# Jobs that may wait for a worker: enough to keep every worker fed, few enough that the audio they
# carry does not grow with the corpus.
QUEUED_PER_WORKER = 4
# How often a job may be aborted by the end of another's worker before it is given up.
ABORTED = 5


class Loss(str):
    """Why a job was lost, in words; timed_out: whether it ran past its time limit."""

    timed_out: bool = False

    @classmethod
    def of_time(cls, seconds: float) -> Loss:
        """The loss of a job that had `seconds`."""
        loss = cls(f"no answer within {seconds:g} s (timeouts.unit_seconds); its worker was ended")
        loss.timed_out = True
        return loss


class Jobs(Protocol):
    """What jobs are given to: the pool, or a worker's own stand-in for it."""

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        timeout: float,
        done: Callable[[Any], None],
        lost: Callable[[Loss], None],
        tries: int = 2,
    ) -> None:
        """Queues a job; see `WorkerPool.submit`."""

    def drain(self, *, block: bool = False) -> None:
        """Runs the callbacks of finished jobs."""

    def wait(self) -> None:
        """Runs callbacks until no job is outstanding."""


@dataclass(eq=False)
class _Job:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    timeout: float
    done: Callable[[Any], None]
    lost: Callable[[Loss], None]
    tries: int
    deaths: int = 0
    aborted: int = 0
    parcel: Parcel | None = None

    def release(self) -> None:
        """Frees the arguments' shared memory."""
        if self.parcel:
            self.parcel.release()
            self.parcel = None


class WorkerPool:
    """Runs jobs in `workers` processes; callbacks run in the thread that calls `drain`.

    Callbacks may submit jobs: those wait in a backlog, so that no callback ever blocks or nests.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._limit = workers * (1 + QUEUED_PER_WORKER)
        self._pool = _processes(workers)
        self._finished: queue.SimpleQueue[tuple[_Job, Any]] = queue.SimpleQueue()
        self._backlog: deque[_Job] = deque()
        self._running = 0
        self._sent: list[_Job] = []
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
        lost: Callable[[Loss], None],
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
        for job in self._sent:
            job.release()
        with contextlib.suppress(queue.Empty):
            while True:
                _, finished = self._finished.get_nowait()
                if not finished.cancelled() and finished.exception() is None:
                    finished.result().release()

    def _end(self) -> None:
        self._pool.stop()
        self._pool.join()

    def _get(self) -> tuple[_Job, Any]:
        # A short timeout in a loop lets Ctrl-C through on every platform.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._finished.get(timeout=0.2)

    def _pump(self) -> None:
        while self._backlog and self._running < self._limit:
            self._running += 1
            self._start(self._backlog.popleft())

    def _start(self, job: _Job) -> None:
        if job.parcel is None:
            job.parcel = pack(job.arguments)
            self._sent.append(job)
        sent = (job.function, job.parcel)
        try:
            future = self._pool.schedule(run_parcel, args=sent, timeout=job.timeout)
        except RuntimeError:
            # The pool itself broke, as it does when a worker dies with a message half sent.
            self._end()
            self._pool = _processes(self.workers)
            future = self._pool.schedule(run_parcel, args=sent, timeout=job.timeout)
        future.add_done_callback(lambda finished: self._finished.put((job, finished)))

    def _finish(self, job: _Job, future: Any) -> None:
        try:
            answer = future.result()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # workers send back whatever was raised, SystemExit too
            if _try_again(job, error):
                self._start(job)
                return
            self._close(job)
            job.lost(_reason(error, job))
            return
        self._close(job)
        result = unpack(answer, copy=True)
        answer.release()
        job.done(result)

    def _close(self, job: _Job) -> None:
        self._running -= 1
        self._sent.remove(job)
        job.release()


def _processes(workers: int) -> ProcessPool:
    from pebble import ProcessPool

    return ProcessPool(
        max_workers=workers,
        context=start_server(),
        initializer=start_worker,
        initargs=(dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, "1"), list(sys.path)),
    )


def start_server() -> BaseContext:
    """Starts, once, the process that workers are forked from; it imports while others go on.

    It has imported what workers need and done nothing else, so that they share its memory, start
    in milliseconds, and inherit no thread or lock of this process.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rdbench.engine.preload"])
    kept = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        ensure_running()  # the server takes the environment that it finds, its libraries too
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return context


def _try_again(job: _Job, error: BaseException) -> bool:
    from pebble import ProcessExpired

    if isinstance(error, ProcessExpired):
        job.deaths += 1
        return job.deaths < job.tries
    if isinstance(error, BrokenExecutor | CancelledError):
        job.aborted += 1  # the pool broke under it; whose fault that was is not known
        return job.aborted < ABORTED
    return False


def _reason(error: BaseException, job: _Job) -> Loss:
    if isinstance(error, FutureTimeoutError):
        return Loss.of_time(job.timeout)
    if job.deaths:
        return Loss(f"its worker process died, each time that it was tried ({error})")
    return Loss(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[WorkerPool]:
    """A pool that is stopped on the way out, at once on an exception or Ctrl-C."""
    pool = WorkerPool(workers)
    try:
        yield pool
    finally:
        pool.stop()
