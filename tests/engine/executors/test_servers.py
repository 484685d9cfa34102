"""Processes do not run the script that wants them, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
