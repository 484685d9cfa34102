"""A scheduler and workers on this machine, which end with the process that wanted them.

    python -P -m rdbench.engine.executors.cluster.local scheduler|worker ARGUMENTS

is Dask's own program of that name; it ends when its standard input does, however that came about.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

import psutil

from rdbench.engine.executors.servers import environment_of_server
from rdbench.engine.executors.temporary import claim, remove_leftovers
from rdbench.types import RdbenchError

START_SECONDS = 120.0
"""How long a scheduler may take to start."""
LOOPBACK = "127.0.0.1"
_SAYS = (" ERROR ", " CRITICAL ", "was killed by", "exited with", "exceeded")
"""What lines of Dask's log say that tell why a worker is gone."""


class LocalCluster:
    """workers: processes, each with one shard at a time. Raises RdbenchError where none start."""

    def __init__(self, workers: int) -> None:
        claim()  # a folder that is taken away however this process ends
        folder = self._folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=get_temp_dir()))
        self.log = folder / "log"
        self._processes: list[subprocess.Popen[bytes]] = []
        told = folder / "scheduler.json"
        self._start(
            "scheduler", "--host", LOOPBACK, "--port", "0", "--no-dashboard",
            "--dashboard-address", f"{LOOPBACK}:0", "--scheduler-file", str(told),
        )  # fmt: skip
        self.address = self._wait_for(told)
        self._start(
            "worker", self.address, "--host", LOOPBACK, "--nworkers", str(workers),
            "--nthreads", "1", "--no-dashboard", "--memory-limit", "0",
            "--local-directory", str(folder), "--death-timeout", "60",
        )  # fmt: skip

    @property
    def scheduler_process(self) -> int:
        """The scheduler's process."""
        return self._processes[0].pid

    @property
    def worker_process(self) -> int:
        """The process below which the workers are."""
        return self._processes[1].pid

    def end_scheduler(self) -> None:
        """Ends the scheduler alone."""
        self._processes[0].kill()

    def last_words(self) -> str:
        """The last that the workers had to complain of."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            said = [line for line in lines if any(word in line for word in _SAYS)]
            return said[-1].rpartition(" - ")[2].strip() if said else ""
        return ""

    def close(self) -> None:
        """Ends all processes."""
        below = []
        for one in self._processes:
            with contextlib.suppress(psutil.Error):
                below += psutil.Process(one.pid).children(recursive=True)
        for one in self._processes:
            one.kill()
        for child in below:
            with contextlib.suppress(psutil.Error):
                child.kill()
        for one in self._processes:
            one.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        remove_leftovers(Path(tempfile.gettempdir()))  # of the workers

    def _start(self, *arguments: str) -> None:
        environment = os.environ | environment_of_server()
        environment |= {"DASK_LOGGING__DISTRIBUTED": "info", "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, *arguments],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
                start_new_session=True,  # Ctrl-C is the run's, which ends them
            )  # fmt: skip
        self._processes.append(process)

    def _wait_for(self, told: Path) -> str:
        """The scheduler's address, from the file that it writes."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._processes[0].poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return str(json.loads(told.read_text())["address"])
            time.sleep(0.05)
        said = self.last_words()
        self.close()
        raise RdbenchError(
            f"no scheduler could be started on this machine{f' ({said})' if said else ''}; "
            "run without --cluster"
        )


def _main(program: str, *arguments: str) -> None:
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    command: Any = importlib.import_module(f"distributed.cli.dask_{program}").main
    command(list(arguments))


def _end_with_stdin() -> None:
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
