"""Ctrl-C and SIGTERM in every phase of the commands: one sentence, the right code, and soon.

The long version of these is `python benchmarks/reliability.py --signals 200`.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from interruptions import COMMANDS, Project

BY_NAME = {command.name: command for command in COMMANDS}
PLAIN = BY_NAME["run plain"]
SECONDS = 20.0
"""Until a command has gone. Two are promised on an idle machine; this one may have other tests."""


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A folder with a finished run, and a baseline of it; its path leaves room for a socket's."""
    short = Path(tempfile.mkdtemp(prefix="rd"))
    project = Project(short / "p")
    assert project.finish(("run", "plain.yaml", "--out", "done", "--quiet")) == (0, "", "")
    update = ("check", "done", "--baseline", "baseline.json", "--update", "--quiet")
    assert project.finish(update) == (0, "", "")
    shutil.copytree(project.folder / "done", project.kept(PLAIN))
    yield project
    shutil.rmtree(short, ignore_errors=True)


@pytest.mark.parametrize(
    ("command", "phase", "longest"),
    [
        ("run plain", "imports", 0.2),
        ("run plain", "imports", 2.0),
        ("run plain", "planning", 1.0),
        ("run plain", "evaluation", 2.0),
        ("run plain", "drawing", 0.2),
        ("run plain", "drawing", 2.0),
        ("report", "report", 2.0),
        ("report --html", "report --html", 1.0),
        ("compare", "compare", 1.0),
        ("check", "check", 0.5),
    ],
)
def test_a_signal_at_a_random_moment_of_a_phase(
    project: Project, command: str, phase: str, longest: float
) -> None:
    """longest: seconds into the phase; where it is over by then, it is tried at half of that."""
    generator = np.random.default_rng([ord(sign) for sign in f"{command} {phase} {longest}"])
    number = (signal.SIGINT, signal.SIGTERM)[int(generator.integers(2))]
    ended = None
    while ended is None:
        project.begin_again(BY_NAME[command])
        moment = float(generator.uniform(0.0, longest))
        ended = project.interrupt(BY_NAME[command], phase, moment, number)
        longest /= 2
    assert ended.well, ended
    assert not ended.left, ended
    assert ended.seconds < SECONDS, ended


def test_after_signals_the_next_run_is_whole(project: Project) -> None:
    project.begin_again(PLAIN)
    for phase in ("evaluation", "drawing"):
        assert project.interrupt(PLAIN, phase, 0.3, signal.SIGINT) is not None
    assert project.whole(PLAIN) == ""
