"""What a long run says on a log."""

from __future__ import annotations

import pytest

from rdbench.cli import progress
from rdbench.cli.progress import ENOUGH, LineProgress


def test_no_time_left_is_told_of_the_first_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They wait for models and worker processes: "11 hours left" after one of them is noise."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = LineProgress()
    lines.start(total=1000, done=500)
    now[0] = 60.0
    lines.advance()
    now[0] = 80.0
    lines.advance(ENOUGH - 1)
    started, first, second = capsys.readouterr().err.splitlines()
    assert started == "rdbench: 1000 clip evaluations, 500 found in the folder"
    assert "left" not in first
    # 20 of 500 in 80 s: what was found in the folder cost no time.
    assert second.endswith(": 0:32:00 left, 0.2 per second")
