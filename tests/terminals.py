"""Commands in a terminal of a chosen width."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path


def in_a_terminal(
    command: Sequence[str],
    columns: int,
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> tuple[int, str]:
    """Exit code, and all that came to a terminal of 24 lines of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in environment.items() if key != "COLUMNS"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal any more
        while read := os.read(ours, 65536):
            shown += read
    os.close(ours)
    return process.wait(), shown.decode(errors="backslashreplace").replace("\r\n", "\n")
