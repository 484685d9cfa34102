"""Processes do not run the script that wants them, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_runs import make_clips

SCRIPT = """
print("this script runs")
from pathlib import Path
from engine_runs import fake, run
for device in ("cpu", "cpu:0"):
    systems = fake("Quantizer"), fake("InPool")
    summary = run(Path("clips"), Path(device.replace(":", "")), *systems, device=device)
    print(summary.written > 0, summary.failed)
"""


def test_a_plain_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    make_clips(tmp_path / "clips", ["a"])
    (tmp_path / "script.py").write_text(SCRIPT)
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines() == ["this script runs", "True 0", "True 0"]
    assert done.stderr == ""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for temporary files whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="rd") as folder:
        yield Path(folder)


MANY = """
import os
from concurrent.futures import ThreadPoolExecutor
from rdbench.engine.executors.servers import start_server
before = dict(os.environ)
with ThreadPoolExecutor(8) as threads:
    list(threads.map(lambda _: start_server(), range(32)))
print(sorted(set(os.environ.items()) ^ set(before.items())))
print(len(os.listdir(os.environ["TMPDIR"])))
"""


def test_threads_that_start_the_server_at_once_have_one_and_leave_the_environment(
    short_path: Path,
) -> None:
    """One takes the other's variables for the user's else, and one of two folders is forgotten."""
    done = subprocess.run(
        [sys.executable, "-c", MANY], env=os.environ | {"TMPDIR": str(short_path)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["[]", "1"]


INTERRUPTED = """
import sys, time
from rdbench import interrupts
interrupts.install()
from rdbench.engine.executors.servers import start_server
context = start_server()
lock = context.Lock()
print(lock._semlock.name, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are no files here")
def test_an_interrupted_command_leaves_no_server_semaphore_or_folder(short_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        env=os.environ | {"TMPDIR": str(short_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    semaphore = Path("/dev/shm") / f"sem.{running.stdout.readline().strip().lstrip('/')}"
    assert semaphore.exists()
    running.send_signal(signal.SIGINT)
    # Every process that has the pipes has ended when they do.
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (130, "rdbench: interrupted; run the same command again\n")
    for _ in range(100):
        if not semaphore.exists():
            break
        time.sleep(0.1)
    assert not semaphore.exists()
    assert list(short_path.iterdir()) == []
