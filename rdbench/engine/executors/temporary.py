"""The folder in which the standard library keeps the socket of the server that forks workers.

It removes that folder when the process ends, which one that is killed cannot. So the folder has a
name of rdbench's, and in it a lock that dies with its process: the next run removes every such
folder of this user whose lock nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from multiprocessing import process, util
from pathlib import Path
from typing import Any

PREFIX = "rdbench-server-"
_LOCK = "lock"


def claimed() -> bool:
    """Whether this process has its folder."""
    current: Any = process.current_process()
    return current._config.get("tempdir") is not None


def claim() -> None:
    """Gives this process its folder, once, and removes those of runs that were killed.

    Processes that it starts have the same. Raises OSError where none can be made.
    """
    if claimed():
        return
    current: Any = process.current_process()
    remove_leftovers(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    current._config["tempdir"] = str(folder)  # at once: who ends this process takes it away
    # Locked before it has its name: without a lock by that name a folder is nobody's leftover.
    unnamed = folder / f"{_LOCK}.new"
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unnamed.rename(folder / _LOCK)
    util.Finalize(None, _remove, args=(folder, os.getpid(), shutil.rmtree), exitpriority=-100)


def remove_leftovers(parent: Path) -> None:
    """Removes the folders below `parent` whose process has ended; what refuses stays."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _remove(folder: Path, owner: int, rmtree: Any) -> None:
    # A forked copy of the process is not the one that the folder is for.
    if os.getpid() == owner:
        rmtree(folder, ignore_errors=True)
