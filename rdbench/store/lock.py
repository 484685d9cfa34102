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
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakSet

from rdbench.store.atomic import cannot_write
from rdbench.types import StoreError

LOCK_NAME = ".lock"
# Only so that a forked child can find what it must close.
_held: WeakSet[RunLock] = WeakSet()


class RunLock:
    """The right to write to a results folder, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock at once; raises StoreError where another writer holds it."""
        self.folder = folder
        path = folder / LOCK_NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        _sign(descriptor)

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


def _sign(descriptor: int) -> None:
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
    # On a full disk the lock holds all the same; only the name of its holder is missing.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def _holder(descriptor: int) -> str:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(content['pid'])} on {content['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _close_in_child() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_close_in_child)
