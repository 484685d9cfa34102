"""Somebody's program, run on files in a folder of its own, under a supervisor and a time limit.

No shell is in between: arguments are passed as they are. The folder is gone afterwards, and so is
every process that the program started, whatever ended it or this process
(`rdbench.codecs.packets.command.supervisor`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.files import is_file
from rdbench.identity import file_sha256
from rdbench.text import printable
from rdbench.types import CodecError, MissingProgramError

MOST_BYTES = 2**30
"""Of any one file that a program writes; the kernel ends one that goes on."""
VERSION_SECONDS = 10.0
_GRACE_SECONDS = 20.0
"""What a supervisor may take beyond the time of its program, to end all that came of it."""
_SAID = 300  # characters of what a program said
_PREFIX = "rdbench-command-"


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """An empty folder, in the one of the run where there is one, which does not outlast the run."""
    from multiprocessing import process

    current: Any = process.current_process()
    parent = current._config.get("tempdir")
    with tempfile.TemporaryDirectory(
        prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Program:
    """An executable, found once.

    name: as it was asked for. path: of the file.
    """

    name: str
    path: Path

    @classmethod
    def find(cls, name: str) -> Program:
        """By name in PATH, or by path; raises MissingProgramError."""
        found = shutil.which(os.path.expanduser(name))  # noqa: PTH111 (a name stays a name)
        if found is None:
            there = Path(name).expanduser().exists() and os.sep in name
            what = "cannot be run as a program" if there else "is not installed"
            todo = "give the path of one" if there else "install it, or give its path"
            raise MissingProgramError(f"the program {printable(name)!r} {what}; {todo}")
        return cls(name, Path(found).absolute())

    def run(self, arguments: Sequence[str], folder: Path, seconds: float) -> str:
        """Runs it in `folder`, with `arguments` behind its name.

        Returns the end of what it wrote to stderr, or else to stdout.

        Raises CodecError for an exit code other than 0 and where it is not done in time.
        """
        task = {
            "arguments": [str(self.path), *arguments],
            "folder": str(folder),
            "seconds": seconds,
            "most_bytes": MOST_BYTES,
            "packages": _packages(),
        }
        told = _supervised(task)
        text = str(told.get("said", ""))
        said = _tidied(text, folder)
        behind = f" (it said: {said})" if said else ""
        if told.get("late"):
            raise CodecError(f"{self.name} was not done within {seconds:g} s and was ended{behind}")
        if "error" in told:
            raise CodecError(f"{self.name} cannot be run: {told['error']}; mend the file")
        if code := int(told.get("code", -signal.SIGKILL)):
            raise CodecError(f"{self.name} {_ended(code)}{behind}")
        return text

    def version(self, arguments: Sequence[str]) -> str:
        """The first line that it says; raises as `run`, and for a program that says nothing."""
        with own_folder() as folder:
            lines = self.run(arguments, folder, VERSION_SECONDS).split("\n")
        said = [line.strip() for line in lines if line.strip()]
        if not said:
            raise CodecError(f"{self.name} says nothing of its version; leave `version` out")
        return printable(said[0])[:120]


def hashes(arguments: Iterable[str]) -> dict[Path, str]:
    """The SHA-256 of every argument that is a file by its absolute path.

    Raises CodecError for one that cannot be read.
    """
    found = {}
    for text in arguments:
        path = Path(text)
        if not path.is_absolute() or not is_file(path):
            continue
        try:
            found[path] = file_sha256(path)
        except OSError as error:
            raise CodecError(f"{path} cannot be read ({error.strerror}); mend it") from None
    return found


def _supervised(task: dict[str, Any]) -> dict[str, Any]:
    script = Path(__file__).with_name("supervisor.py")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is rdbench's, which ends what it has started
    ) as supervisor:
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            supervisor.stdin.write(json.dumps(task).encode() + b"\n")
            supervisor.stdin.flush()
        # The pipe stays open for as long as the answer is wanted.
        answer = _answer(supervisor, task["seconds"] + _GRACE_SECONDS)
    told: dict[str, Any] = json.loads(answer) if answer else {}
    return told


def _answer(supervisor: subprocess.Popen[bytes], seconds: float) -> bytes:
    """All that it says; it is ended where the run is gone, and where it outlasts its own limit."""
    from multiprocessing import connection, parent_process

    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    parent, output = parent_process(), supervisor.stdout.fileno()
    ends = [] if parent is None else [parent.sentinel]
    until, answer = time.monotonic() + seconds, b""
    while True:
        ready = connection.wait([output, *ends], max(0.0, until - time.monotonic()))
        if output in ready:
            if not (said := os.read(output, 2**16)):
                return answer
            answer += said
        elif ready:
            supervisor.stdin.close()  # it ends the program, and removes the folder
            ends, until = [], time.monotonic() + _GRACE_SECONDS
        else:  # a program that stops the one above it
            supervisor.kill()
            return b""


def _packages() -> str:
    """Where the supervisor finds psutil, which it seldom needs."""
    from importlib.util import find_spec

    found = find_spec("psutil")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parents[1])


def _tidied(said: str, folder: Path) -> str:
    """The last lines in one, without the folder's name, which is another every time."""
    text = said.replace(f"{folder}{os.sep}", "").replace(str(folder), ".")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines()]
    joined = " / ".join(printable(line) for line in lines if line)
    return joined if len(joined) <= _SAID else f"…{joined[-_SAID:]}"


def _ended(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
