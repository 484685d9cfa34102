"""Runs one program to its end, and ends every process that came of it. Run as a script.

It stands between rdbench and somebody's program. Whatever ends rdbench's process (a time limit of
the kernel's, Ctrl-C, a crash), this one finds the pipe from it closed, ends the program and removes
its folder; a program that forks, changes its session or leaves daemons behind is not lost sight of,
since what its parents leave comes to this process (`PR_SET_CHILD_SUBREAPER`).

On stdin comes one line of JSON and nothing more, as long as the result is wanted; on stdout goes
one object of JSON: {"code": exit code, or minus the signal}, {"late": true}, or {"error": text},
with "said": the end of what the program wrote to stderr, or else to stdout.

It is started once for every command, so it imports little, and of rdbench nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False  # `typing` takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import Any

KEPT_BYTES = 4096
PATIENCE_SECONDS = 5.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>


def main() -> None:
    """Reads what is to be run, runs it, and tells how it ended."""
    task = json.loads(sys.stdin.buffer.readline())
    with contextlib.suppress(OSError, AttributeError):  # systems other than Linux
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    # What the program inherits: files up to a size, no core, and signals that reach it.
    for limit, value in ((resource.RLIMIT_FSIZE, task["most_bytes"]), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):  # where there is a lower one
            resource.setrlimit(limit, (value, value))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    told = _run(task)
    if told is None:
        shutil.rmtree(task["folder"], ignore_errors=True)
        return
    sys.stdout.write(json.dumps(told))


def _run(task: dict[str, Any]) -> dict[str, Any] | None:
    """What became of the program; None where nobody wants to know any more."""
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        program = subprocess.Popen(
            task["arguments"],
            cwd=task["folder"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"error": getattr(error, "strerror", None) or str(error), "said": ""}
    kept = {"stdout": b"", "stderr": b""}
    try:
        how = _wait(program, kept, woken, time.monotonic() + task["seconds"])
    finally:
        _end_all(program, task["packages"])
        _read(program, kept)
    if how == "unwanted":
        return None
    said = (kept["stderr"].strip() or kept["stdout"].strip()).decode(errors="replace")
    return {"said": said} | ({"late": True} if how == "late" else {"code": program.returncode})


def _wait(
    program: subprocess.Popen[bytes], kept: dict[str, bytes], woken: int, until: float
) -> str:
    """Reads what the program says until it ends ("ended"), is "late", or "unwanted"."""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        for name in kept:
            os.set_blocking(getattr(program, name).fileno(), False)
            selector.register(getattr(program, name), selectors.EVENT_READ, name)
        while program.poll() is None:
            left = until - time.monotonic()
            if left <= 0:
                return "late"
            for key, _ in selector.select(left):
                if key.fd == 0:
                    return "unwanted"
                if key.fd == woken:
                    os.read(woken, 64)
                elif not _keep(key.fd, kept, key.data):
                    selector.unregister(key.fileobj)
    return "ended"


def _keep(descriptor: int, kept: dict[str, bytes], name: str) -> bool:
    """Takes what there is to read, and keeps the end of it; whether more may come."""
    try:
        text = os.read(descriptor, 2**16)
    except BlockingIOError:
        return True
    kept[name] = (kept[name] + text)[-KEPT_BYTES:]
    return bool(text)


def _read(program: subprocess.Popen[bytes], kept: dict[str, bytes]) -> None:
    """Takes what is left in the pipes of a program that has ended."""
    for name, before in list(kept.items()):
        seen = before
        with contextlib.suppress(OSError), getattr(program, name) as pipe:
            for _ in range(32):  # more than a pipe holds
                if not _keep(pipe.fileno(), kept, name) or kept[name] is seen:
                    break
                seen = kept[name]


def _end_all(program: subprocess.Popen[bytes], packages: str) -> None:
    """Ends the program and everything below this process."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait(PATIENCE_SECONDS)
    until = time.monotonic() + PATIENCE_SECONDS
    while _has_children() and time.monotonic() < until:
        if packages not in sys.path:
            sys.path.append(packages)
        import psutil

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        time.sleep(0.005)


def _has_children() -> bool:
    """Whether any process is left below this one; takes note of those that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


if __name__ == "__main__":
    main()
