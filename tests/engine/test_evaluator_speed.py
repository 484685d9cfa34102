"""The speed benchmark's command: that it runs, and that its page says what was not measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "evaluator_speed.py"


@pytest.mark.slow
def test_a_quick_run_measures_every_part_and_writes_the_page(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "evaluator_speed.json").read_text())["cpu"]
    assert measured["rdbench"]["failed"] == 0
    # Packets have a container beside their payload, posteriors a trace beside their KL.
    assert measured["rdbench"]["written"] == 4 * (2 * 10 + 2 * 10)
    assert measured["second"]["written"] == 0
    assert set(measured["growth"]) == {"4", "8"}
    page = (tmp_path / "evaluator_speed.md").read_text()
    assert "A quick run" in page
    assert "| ratio |" in page
    assert page.count("not measured") >= 10  # the whole column of the GPU
