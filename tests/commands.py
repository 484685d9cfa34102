"""`rdbench …` within the process of the test: what it prints, and the code that it ends with.

For what a command says and does. Where the process itself is what is tested (its start, streams,
signals, limits, what it leaves behind), a test starts one: seconds, most of them imports.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from rdbench import interrupts
from rdbench.cli.main import entry


def rdbench(
    *arguments: str | Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """How `python -m rdbench` ends with these arguments, in the folder `cwd`.

    The children of this process are those of other tests, and outlast a command that fails.
    """
    words = ["rdbench", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    code: str | int | None = 0
    with (
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", words),
        mock.patch.object(interrupts, "end_children"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            entry()
        except SystemExit as end:
            code = end.code
    assert code is None or isinstance(code, int), code
    return subprocess.CompletedProcess(words, code or 0, out.getvalue(), err.getvalue())
