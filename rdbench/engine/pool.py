"""The pool of long-lived worker processes, with a time limit per job and a bounded queue.

A worker that dies (a crash in a codec's or a metric's native code) or runs past its time limit is
replaced by pebble's pool; the job is tried once more and then reported as lost, with the reason.
The results of finished jobs are handed to their callbacks in the engine's own thread, by `drain`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from rdbench.engine.worker import limit_threads

# Jobs that may wait for a worker: enough to keep every worker fed, few enough that the audio they
# carry does not grow with the corpus.
QUEUED_PER_WORKER = 4


@dataclass
class _Job:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    timeout: float
    done: Callable[[Any], None]
    lost: Callable[[str], None]
    tries: int = 0


class WorkerPool:
    """Runs jobs in `workers` processes; callbacks run in the thread that calls `drain`."""

    def __init__(self, workers: int) -> None:
        from pebble import ProcessPool

        self.workers = workers
        self._pool = ProcessPool(
            max_workers=workers,
            context=multiprocessing.get_context("spawn"),
            initializer=limit_threads,
            initargs=(1,),
        )
        self._finished: queue.SimpleQueue[tuple[_Job, Any]] = queue.SimpleQueue()
        self._outstanding = 0

    @property
    def outstanding(self) -> int:
        """Jobs submitted whose callback has not run yet."""
        return self._outstanding

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        timeout: float,
        done: Callable[[Any], None],
        lost: Callable[[str], None],
    ) -> None:
        """Queues a job; waits (and runs callbacks) while too many are queued.

        timeout: seconds of running time. done(result) or lost(reason) is called later, once.
        """
        while self._outstanding >= self.workers * (1 + QUEUED_PER_WORKER):
            self.drain(block=True)
        self._outstanding += 1
        self._start(_Job(function, arguments, timeout, done, lost))

    def drain(self, *, block: bool = False) -> None:
        """Runs the callbacks of finished jobs; with `block`, waits for at least one."""
        if block and self._outstanding:
            self._finish(*self._get())
        with contextlib.suppress(queue.Empty):
            while True:
                self._finish(*self._finished.get_nowait())

    def wait(self) -> None:
        """Runs callbacks until no job is outstanding."""
        while self._outstanding:
            self.drain(block=True)

    def stop(self) -> None:
        """Kills the workers; what they were doing is lost to them, not to the store."""
        self._pool.stop()
        self._pool.join()

    def _get(self) -> tuple[_Job, Any]:
        # A short timeout in a loop lets Ctrl-C through on every platform.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._finished.get(timeout=0.2)

    def _start(self, job: _Job) -> None:
        job.tries += 1
        future = self._pool.schedule(job.function, args=job.arguments, timeout=job.timeout)
        future.add_done_callback(lambda finished: self._finished.put((job, finished)))

    def _finish(self, job: _Job, future: Any) -> None:
        try:
            result = future.result()
        except CancelledError:
            self._outstanding -= 1
            return
        except Exception as error:
            reason = _reason(error, job)
            if _is_fault(error) and job.tries == 1:
                self._start(job)
                return
            self._outstanding -= 1
            job.lost(reason)
            return
        self._outstanding -= 1
        job.done(result)


def _is_fault(error: Exception) -> bool:
    from pebble import ProcessExpired

    return isinstance(error, ProcessExpired)


def _reason(error: Exception, job: _Job) -> str:
    if isinstance(error, FutureTimeoutError):
        return f"no answer within {job.timeout:g} s (timeouts.unit_seconds); its worker was ended"
    if _is_fault(error):
        return f"its worker process died twice ({error})"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[WorkerPool]:
    """A pool that is stopped on the way out, at once on an exception or Ctrl-C."""
    pool = WorkerPool(workers)
    try:
        yield pool
    finally:
        pool.stop()
