"""What a long run says on a log."""

from __future__ import annotations

import threading
import time

import pytest

from rdbench.cli import progress
from rdbench.cli.progress import ENOUGH, LineProgress, Patience


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


def test_what_takes_long_says_so_and_what_is_quick_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)
    heard: list[str] = []
    spoken = threading.Event()

    def line(text: str) -> None:
        heard.append(text)
        if "overview" in text:
            spoken.set()

    monkeypatch.setattr(progress, "write_line", line)
    with Patience(quiet=False) as patience:
        patience.at("drawing the overview")
        assert spoken.wait(60.0)
    assert heard[-1].startswith("drawing the overview (")
    count = len(heard)
    with Patience(quiet=True) as patience:
        patience.at("nothing")
        time.sleep(0.2)
    assert len(heard) == count
    assert capsys.readouterr().err == ""
