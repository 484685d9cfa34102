"""Standard streams that outlast what they lead to: closed ones, readers that go, narrow encodings.

What a process writes to its streams tells of its work and is not the work: a run whose log has
no reader any more goes on, and a table whose signs the terminal does not know is printed with
other signs in their place.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

_READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe; of a terminal


def hold() -> None:
    """Makes the standard streams of this process last; call it before any file is opened.

    A closed descriptor is opened, since the next file would take its number and get what libraries
    write to it: stderr where stdout leads, so that no end is silent, the others nowhere. Signs
    that an encoding lacks are replaced. What is written after the reader has gone is dropped, and
    so is what cannot be written to stderr; else a failure to write is an OSError, once.
    """
    for descriptor in (0, 1, 2):
        _open(descriptor)
    sys.stdout = _text(1, "standard output", sys.stdout, "replace", os.isatty(1))
    sys.stderr = _text(2, "", sys.stderr, "backslashreplace", True)


def _open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        # Either takes the lowest number that is free, which is this one.
        opened = os.dup(1) if descriptor == 2 else os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(opened, True)


def _text(descriptor: int, name: str, before: Any, errors: str, lines: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(descriptor, name)),
        encoding=before.encoding if before else "utf-8",
        errors=errors,
        line_buffering=lines,
        write_through=bool(before) and before.write_through,
    )


class _Lasting(io.FileIO):
    """A descriptor for writing. name: of the stream, in errors; "" where there are to be none."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._told_as = name
        self._lost = False

    def write(self, content: Any) -> int:
        """Writes what the descriptor takes; everything, it says, once that has failed."""
        if not self._lost:
            try:
                return super().write(content)
            except OSError as error:
                self._lost = True
                if self._told_as and error.errno not in _READER_GONE:
                    raise OSError(error.errno, error.strerror, self._told_as) from error
        return memoryview(content).nbytes
