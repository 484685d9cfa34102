"""A Dask scheduler, and machines beside it: network namespaces, or processes on the loopback."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from rdbench.engine.executors.cluster.local import LOOPBACK, START_SECONDS
from rdbench.engine.executors.servers import environment_of_server

PROGRAM = [sys.executable, "-P", "-m", "rdbench.engine.executors.cluster.local"]
ADDRESS = "10.77.{}.{}"
"""Of machine N: 1 is this side of its cable, 2 is the machine's."""


class Process:
    """One of Dask's programs, with whatever is below it; ended at the end of the block."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | environment_of_server(),
        )  # fmt: skip

    def kill(self) -> None:
        """All of it at once."""
        with contextlib.suppress(psutil.Error):
            first = psutil.Process(self._process.pid)
            for one in [first, *first.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    one.kill()
        self._process.wait()


class Network:
    """A scheduler and `count` machines with two worker processes each.

    folder: for what they write. Machines are network namespaces where this user may make them.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._spaces = [f"rdbench-{os.getpid()}-{number}" for number in range(1, count + 1)]
        self.apart = all(_connected(name, n) for n, name in enumerate(self._spaces, start=1))
        told = folder / "scheduler.json"
        listens = "0.0.0.0" if self.apart else LOOPBACK
        self._scheduler = Process(
            *PROGRAM, "scheduler", "--host", listens, "--port", "0", "--no-dashboard",
            "--dashboard-address", f"{LOOPBACK}:0", "--scheduler-file", str(told),
        )  # fmt: skip
        self._port = _port_in(told)
        self.machines = [self._machine(number, folder) for number in range(1, count + 1)]

    @property
    def address(self) -> str:
        """Of the scheduler, as the command of a run sees it."""
        return f"tcp://{LOOPBACK}:{self._port}"

    def close(self) -> None:
        """Ends everything, and takes the namespaces away."""
        for one in [*self.machines, self._scheduler]:
            one.kill()
        for name in self._spaces:
            _ip("netns", "del", name)

    def _machine(self, number: int, folder: Path) -> Process:
        here, there = (ADDRESS.format(number, side) for side in (1, 2))
        into = ["ip", "netns", "exec", self._spaces[number - 1]] if self.apart else []
        (folder / f"machine {number}").mkdir()
        return Process(
            *into, *PROGRAM, "worker", f"tcp://{here if self.apart else LOOPBACK}:{self._port}",
            "--host", there if self.apart else LOOPBACK, "--nworkers", "2", "--nthreads", "1",
            "--no-dashboard", "--memory-limit", "0",
            "--local-directory", str(folder / f"machine {number}"),
        )  # fmt: skip


def _ip(*words: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
    return False


def _connected(space: str, number: int) -> bool:
    """Makes a namespace that is connected with this one; whether it may be made."""
    near, far = f"rdb{number}h", f"rdb{number}m"
    here, there = (ADDRESS.format(number, side) + "/24" for side in (1, 2))
    _ip("link", "del", near)  # of a test that was killed
    inside = ("-n", space)
    return (
        _ip("netns", "add", space)
        and _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        and _ip("addr", "add", here, "dev", near)
        and _ip("link", "set", near, "up")
        and _ip(*inside, "addr", "add", there, "dev", far)
        and _ip(*inside, "link", "set", far, "up")
        and _ip(*inside, "link", "set", "lo", "up")
    )


def _port_in(told: Path) -> int:
    """Of the scheduler, which writes its address into a file when it listens."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return int(json.loads(told.read_text())["address"].rpartition(":")[2])
        time.sleep(0.05)
    raise TimeoutError("the scheduler does not start")
