"""Runs that are killed leave no folders behind for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rdbench.engine.executors.temporary import PREFIX, remove_leftovers

SERVER = """
import os, sys, time
from multiprocessing import util
from rdbench.engine.executors.temporary import claim
claim()
claim()
print(util.get_temp_dir(), flush=True)
if sys.argv[1] == "waits":
    time.sleep(600)
"""


def started(tmp_path: Path, what: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, what],
        env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    killed, left = started(tmp_path, "waits")
    alive, kept = started(tmp_path, "waits")
    others = [tmp_path / f"{PREFIX}of-nobody", tmp_path / "pymp-of-others"]
    for other in others:  # without a lock, or of another name: not known to be left over
        other.mkdir()
    try:
        assert left.parent == kept.parent == tmp_path
        assert left != kept
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.is_dir()
        (left / "listener-abc").touch()
        ended, own = started(tmp_path, "ends")
        assert ended.wait() == 0
        assert not own.exists()  # its own, as ever
        assert not left.exists()
        assert kept.is_dir()
        assert all(other.is_dir() for other in others)
    finally:
        for process in (killed, alive):
            process.kill()
            process.wait()
    remove_leftovers(tmp_path)
    assert not kept.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "lock").touch()
    parent = tmp_path / "tmp"
    parent.mkdir()
    (parent / f"{PREFIX}x").symlink_to(home)
    remove_leftovers(parent)
    assert (home / "lock").exists()
