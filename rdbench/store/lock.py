"""One writer per results folder: an advisory lock that dies with its process.

The lock is `flock` on a file in the folder, so a killed writer leaves nothing that must be cleaned
up by hand; the file's text only tells who holds it. Forked children close their copy, because a
lock that they inherit would outlive the writer.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import socket
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from rdbench.store.atomic import cannot_write
from rdbench.types import StoreError

LOCK_NAME = ".lock"
_TRIES, _BETWEEN_S = 4, 0.05
# What reading raises of a file that somebody else wrote.
_NO_TEXT = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError
)  # fmt: skip
# Only so that a forked child can find what it must close.
_held: WeakSet[RunLock] = WeakSet()


class RunLock:
    """The right to write to a results folder, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock at once; raises StoreError where another writer holds it."""
        self.folder = folder
        path = folder / LOCK_NAME
        try:
            descriptor = _opened(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            _take(descriptor)
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise cannot_write(path, error) from error
            raise StoreError(
                f"results folder {folder} is being written by {holder}; "
                "wait until it ends, or choose another folder"
            ) from None
        self._descriptor: int | None = descriptor
        _held.add(self)
        self._text: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname()}
        self.note()

    def note(self, **facts: Any) -> None:
        """Adds to what the lock's file tells of its holder; for `session_of`."""
        self._text |= facts
        if self._descriptor is None:
            return
        text = json.dumps(self._text).encode()
        # On a full disk the lock holds all the same, and where the file has another name too, in
        # somebody's folder: only what it tells is missing.
        if os.fstat(self._descriptor).st_nlink > 1:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Gives the lock back; the file stays, since removing it could break another's lock."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            _held.discard(self)
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(frozen=True)
class Session:
    """What the lock of a folder tells of the run that has it, or had it last.

    running: whether the lock is held now. began: seconds since the epoch at which the run began to
    measure, None where it has not; done: finished units that the folder held by then.
    """

    pid: int
    host: str
    running: bool
    began: float | None = None
    done: int = 0


def session_of(folder: Path) -> Session | None:
    """The last session of the run in `folder`; None where none can be told."""
    try:
        descriptor = _opened(folder / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        text = json.loads(os.pread(descriptor, 4096, 0))
        began, done = text.get("began"), int(text.get("done", 0))
        if (began is not None and not math.isfinite(began)) or not 0 <= done < 2**53:
            return None
        held = _is_held(descriptor)
        return Session(int(text["pid"]), str(text["host"]), held, began and float(began), done)
    except _NO_TEXT:
        return None
    finally:
        os.close(descriptor)


def _opened(path: Path, flags: int) -> int:
    """A descriptor of a lock, which is a file, and neither a link to one nor a pipe."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def _take(descriptor: int) -> None:
    # Whoever asks for the state of a run holds the lock for a moment.
    for _ in range(_TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_BETWEEN_S)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _holder(descriptor: int) -> str:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(content['pid'])} on {content['host']}"
    except _NO_TEXT:
        return "another process"


def _close_in_child() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_close_in_child)
