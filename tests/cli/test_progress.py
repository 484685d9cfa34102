"""What a long run says on a log, and on terminals of every width."""

from __future__ import annotations

import os
import re
import sys
import threading
import time

import pytest
from terminals import in_a_terminal

from rdbench.cli import progress
from rdbench.cli.progress import ENOUGH, LineProgress, Patience, fitted


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


CHILD = """
import time
from rdbench.cli.progress import make_progress
progress = make_progress(quiet=False)
progress.start(total=480, done=100)
progress.at("vae_of_a_long_name", "12.5 kbps")
time.sleep(0.1)
progress.advance(120)
progress.say("a note")
progress.stop()
"""
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def last_lines(columns: int, **more: str) -> list[str]:
    """What CHILD leaves on a terminal of so many columns, each time a line was written anew."""
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **more}
    code, shown = in_a_terminal([sys.executable, "-c", CHILD], columns, environment)
    assert code == 0, shown
    lines = re.split("[\r\n]+", CONTROLS.sub("", shown))
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("columns", [8, 20, 40, 80, 200])
def test_the_count_is_seen_on_a_terminal_of_any_width(columns: int) -> None:
    lines = last_lines(columns)
    assert max(map(len, lines)) <= columns
    assert "220/480" in lines[-1]
    assert "[" not in "".join(lines)  # no markup that was not understood
    assert ("left" in lines[-1]) == (columns >= 40)
    assert "per second" in lines[-1] or columns < 80
    assert ("vae_of_a_long_name 12.5 kbps" in lines[-1]) == (columns == 200)
    assert ("━" in lines[-1]) == (columns >= 60)


def test_a_terminal_that_cannot_go_back_gets_lines() -> None:
    lines = last_lines(80, TERM="dumb")
    assert lines == ["rdbench: 480 clip evaluations, 100 found in the folder", "rdbench: a note"]


def test_what_does_not_fit_is_left_out_the_count_last() -> None:
    facts = ["123/480", "1:02:03 left", "0.1 per second"]
    for width in range(1, 100):
        said = fitted(facts, "opus 音楽 12 kbps", width)
        assert said.startswith("123/480")
        assert len(said) <= max(width, len("123/480"))
        assert "12 kbps" in said or width < len(", ".join(facts)) + 2 + len("opus 音楽 12 kbps") + 2


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
