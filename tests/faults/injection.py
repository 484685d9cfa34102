"""Makes a process fail at a chosen step of writing its results folder.

Every step by which Python changes a file below the folder is numbered in the order in which it
happens: opening for writing, each write, truncation, fsync (of files and folders), rename, removal
and making folders. At step `at` the process is killed (`kill`; a write is cut off in its middle
first), or the operating system refuses (`refuse`, that step and with `sticky` all after it, as a
disk that is full or gone does), or is slow. Works on the unchanged store: what is replaced are
the functions of `os` and `io` that it calls.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Injector:
    """What to do at which step; `steps` lists (kind, file name) of those that came."""

    folder: Path
    at: int = 0
    action: str = "count"
    number: int = errno.ENOSPC
    sticky: bool = True
    seconds: float = 0.0
    steps: list[tuple[str, str]] = field(default_factory=list)

    def step(self, kind: str, path: str, half: Callable[[], None] | None = None) -> None:
        self.steps.append((kind, Path(path).name))
        now = len(self.steps)
        if self.action == "kill" and now == self.at:
            if half:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        failing = now == self.at or (self.sticky and now > self.at)
        if self.action == "refuse" and self.at and failing:
            raise OSError(self.number, os.strerror(self.number), path)
        if self.action == "slow":
            time.sleep(self.seconds)

    def covers(self, target: Any, parent: int | None = None) -> str:
        """The path of a file name or a descriptor where it is in the folder, else "".

        parent: the descriptor of the folder that a name is relative to.
        """
        try:
            if isinstance(target, int):
                real = str(Path(f"/proc/self/fd/{target}").readlink())
            else:
                here = Path() if parent is None else Path(f"/proc/self/fd/{parent}").readlink()
                real = str((here / os.fspath(target)).absolute())
        except (TypeError, OSError):
            return ""
        home = str(self.folder.absolute())
        return real if real == home or real.startswith(home + os.sep) else ""


class _File:
    """A file opened for writing, whose writes are steps."""

    def __init__(self, file: Any, injector: Injector, path: str) -> None:
        self._file, self._injector, self._path = file, injector, path

    def write(self, content: bytes) -> int:
        def half() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._injector.step("write", self._path, half)
        return int(self._file.write(content))

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def injected(injector: Injector) -> Iterator[Injector]:
    """Numbers the steps of this process, and does at one of them what the injector says."""
    names = ("fsync", "replace", "rename", "unlink", "mkdir", "ftruncate", "pwrite", "open")
    before = {name: getattr(os, name) for name in names}
    real_open = io.open

    def wrapped(name: str) -> Callable[..., Any]:
        def call(target: Any, *arguments: Any, **options: Any) -> Any:
            writes = name != "open" or (arguments and arguments[0] & (os.O_WRONLY | os.O_RDWR))
            parent = options.get("dir_fd", options.get("src_dir_fd"))
            path = injector.covers(target, parent) if writes else ""
            if path:
                injector.step(name, path)
            return before[name](target, *arguments, **options)

        return call

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        path = injector.covers(file) if set(mode) & set("wxa+") else ""
        if not path:
            return real_open(file, mode, *arguments, **options)
        if not isinstance(file, int):  # else it was opened by a step of its own
            injector.step("create", path)
        return _File(real_open(file, mode, *arguments, **options), injector, path)

    try:
        for name in names:
            setattr(os, name, wrapped(name))
        io.open = opened  # type: ignore[assignment]
        yield injector
    finally:
        io.open = real_open
        for name, function in before.items():
            setattr(os, name, function)
