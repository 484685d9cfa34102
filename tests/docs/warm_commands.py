"""`rdbench …` in a process that is forked from one which has imported what commands import.

A command of a page starts as from a shell, in its folder and with its variables and streams, but
for the imports: seconds of each. The program that the shell finds hands all that to a server here.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

STREAMS = (0, 1, 2)
IMPORTED = ("rdbench.cli.main", "matplotlib.figure", "pandas", "yaml")

CLIENT = """\
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect(sys.argv[1])
    asked = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    streams = array.array("i", [0, 1, 2]).tobytes()
    link.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    link.sendall(asked)
    sys.exit(int(link.recv(4) or b"255"))  # nothing comes of a process that was killed
"""


@contextlib.contextmanager
def warm_commands(path: Path) -> Iterator[None]:
    """Serves at the socket `path` what `CLIENT PATH ARGUMENT...` asks for."""
    from rdbench.engine.executors.servers import start_server

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        server = start_server().Process(target=_serve, args=(listening,), daemon=False)
        server.start()
        try:
            yield
        finally:
            server.terminate()
            server.join()


def _serve(listening: socket.socket) -> None:
    """Forks a process for each command; it has no thread, and gathers none of its own."""
    for module in IMPORTED:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        link, _ = listening.accept()
        with link:
            if os.fork() == 0:
                listening.close()
                _answer(link)


def _answer(link: socket.socket) -> None:
    """Runs the command that is asked for, says how it ended, and ends with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    size, [(_, _, data)], _, _ = link.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i", data)
    words, folder, variables = json.loads(_read(link, int.from_bytes(size, "big")))
    for own, sent in zip(STREAMS, streams, strict=True):
        os.dup2(sent, own)
        os.close(sent)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = [folder, *variables["PYTHONPATH"].split(os.pathsep)]
    code = _end_of(words)
    with contextlib.suppress(BrokenPipeError):
        link.sendall(str(code).encode())
    os._exit(code)


def _read(link: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        content += link.recv(size - len(content))
    return content


def _end_of(words: list[str]) -> int:
    """The exit code of `rdbench` with these words."""
    from rdbench.cli.main import entry

    sys.argv = words
    # Those of the server are of other files; these stay open as long as the process.
    sys.stdin, sys.stdout, sys.stderr = map(os.fdopen, STREAMS, ("r", "w", "w"))
    code: str | int | None = None
    try:
        entry()
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0
