"""How processes of this machine are started: from a server, without running the caller's script.

Processes are forked from a server that has imported what they need and done nothing else, so
that they share its memory, start in milliseconds, and inherit no thread or lock of this process.

Python would put the current folder first on the server's import path, and run whatever lies there
under the name of a module (`signal.py`, a folder `rdbench`). The server starts in safe-path mode
and imports the rdbench that this process has.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import rdbench
from rdbench import streams
from rdbench.engine.executors.temporary import claim, claimed
from rdbench.types import RdbenchError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""What the numeric libraries of a worker read; each is 1 there."""
SWEEPING = "ignore::UserWarning:multiprocessing.resource_tracker"
"""What the tracker of semaphores says when it takes away those of processes that were ended."""

FREE_FILES = 32
"""Open files that a run needs besides those that its process has when it starts."""

_starting = threading.Lock()


class _ForkedProcess(ForkServerProcess):
    """A process of the server."""

    def start(self) -> None:
        """Starts it without the caller's script."""
        with _without_main():
            super().start()


class ServerContext(ForkServerContext):
    """Of processes that are forked from the server."""

    Process = _ForkedProcess


def start_server() -> ServerContext:
    """Starts, once, the process that workers are forked from; it imports while others go on.

    RdbenchError: where no process can be spoken with.
    """
    context = ServerContext()
    context.set_forkserver_preload(["rdbench.engine.executors.preload"])
    # Ctrl-C goes to every process of the terminal. The run that wants these ends them: they have
    # it blocked from their birth, as everything has that is forked from the server.
    let_through = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with _starting, _environment_of_server():
            if not claimed():
                _check_open_files()
            claim()
            resource_tracker.ensure_running()  # which lets it through again after its own start
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            ensure_running()  # the server takes the environment that it finds, its libraries too
    except OSError as error:
        if error.errno is not None:
            raise
        raise RdbenchError(  # what Python says of a socket, which has room for 107 bytes
            f"processes cannot be started: the path of {tempfile.gettempdir()} is too long; "
            "set TMPDIR to a folder with a shorter one"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, let_through)
    return context


def _check_open_files() -> None:
    """RdbenchError where a run would find no room for a pipe in the middle of its work."""
    with contextlib.ExitStack() as held:
        try:
            for _ in range(FREE_FILES):
                held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            raise RdbenchError(
                f"processes cannot be started: a run needs {FREE_FILES} more open files than this "
                "process may have; raise the limit (`ulimit -n 1024`)"
            ) from error


def environment_of_server() -> dict[str, str]:
    """The variables that a process has otherwise which rdbench starts on its own."""
    quiet = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), SWEEPING)))
    changed = dict.fromkeys(THREAD_VARIABLES, "1")
    changed |= {"PYTHONWARNINGS": quiet, "PYTHONSAFEPATH": "1"}
    if own := _own_path():
        changed["PYTHONPATH"] = own
    return changed


@contextlib.contextmanager
def _environment_of_server() -> Iterator[None]:
    """The variables that the server starts with. One caller at a time, who holds `_starting`."""
    changed = environment_of_server()
    kept = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _own_path() -> str:
    """PYTHONPATH with the folder of this rdbench, where the server would find none or another.

    That is where it was found by way of a script's folder, of `python -m` in a checkout, or of what
    was put on the path since; "" else.
    """
    root = Path(rdbench.__file__).resolve().parents[1]
    given = os.environ.get("PYTHONPATH", "")
    installed = sysconfig.get_paths()
    known = [*given.split(os.pathsep), installed["purelib"], installed["platlib"]]
    if root in (Path(entry).resolve() for entry in known):
        return ""
    return os.pathsep.join(filter(None, (str(root), given)))


def surroundings() -> tuple[dict[str, str], list[str]]:
    """The environment and the import path that a worker shall have: see `enter`."""
    with _starting:
        return dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, "1"), list(sys.path)


def enter(environment: Mapping[str, str], path: Sequence[str]) -> None:
    """Gives a new process the surroundings of the one that wants it.

    It was forked from a server that may be older than both.
    """
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    streams.hold()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Processes started inside do not run the caller's script again.

    The standard library has every new process import the main module of its parent, for functions
    that are defined there; ours are not, and a script without a guard would start a run in each.
    """
    main: Any = sys.modules["__main__"]
    with _starting:
        kept = {
            name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)
        }
        try:
            for name in kept:
                setattr(main, name, None)
            yield
        finally:
            for name, value in kept.items():
                setattr(main, name, value)
