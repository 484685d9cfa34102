"""Odd users, terminals, limits and streams, several of them at once: a run ends as anywhere.

Each of them alone is tried by `python benchmarks/reliability.py --environments`.
"""

from __future__ import annotations

import subprocess

import pytest
from environments import ENVIRONMENTS, USER, Environment, Trials

NAMED = {environment.name: environment for environment in ENVIRONMENTS}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Has run where nothing is odd."""
    return Trials(tmp_path_factory.mktemp("environments") / "trials")


def user() -> str:
    """USER, where the kernel lets one have a namespace of users."""
    allowed = subprocess.run([*USER.split(), "true"], capture_output=True, check=False)
    return USER if allowed.returncode == 0 else ""


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        # Nobody's machine: no home, no cache, no fitting encoding, a backend that is none, no log.
        (
            "mkdir -m 500 h; ulimit -v 6291456; ulimit -n 64; umask 077\n"
            "env -u HOME -u USER -u LOGNAME XDG_CACHE_HOME=$PWD/h TMPDIR=/nowhere TZ=No/Where "
            "PYTHONIOENCODING=latin-1 MPLBACKEND=nonsense MPLCONFIGDIR=$PWD/h {user} $RUN 2>&-",
            0,
        ),
        # A terminal of few columns in ASCII.
        (
            "TERM=xterm LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONOPTIMIZE=2 $RUN",
            40,
        ),
        ("$RUN 2>&1 | head -1; exit ${{PIPESTATUS[0]}}", 0),
    ],
)
def test_a_run_in_an_odd_environment_is_whole(trials: Trials, line: str, columns: int) -> None:
    environment = Environment(f"odd {line[:20]}", line.format(user=user()), columns=columns)
    ended = trials.end(environment)
    assert (ended.code, ended.wrong) == (0, []), ended


@pytest.mark.parametrize(
    "name",
    [
        "a folder with a name of 300 characters",
        "a run with a name of 300 characters",
        "the current folder deleted",
        "files of 2 KiB",
        "1 GiB of address space",
        "16 open files",
        "a mistake where stderr is closed",
    ],
)
def test_what_an_environment_does_not_allow_is_one_sentence(trials: Trials, name: str) -> None:
    ended = trials.end(NAMED[name])
    assert (ended.code, ended.wrong) == (2, []), ended


def test_a_run_that_is_resumed_without_room_for_files_is_refused_before_a_row_fails(
    trials: Trials,
) -> None:
    line = "$RUN --limit 1 && ulimit -n 16 && $RUN"
    ended = trials.end(Environment("16 open files for the rest", line, refused="open files"))
    assert (ended.code, ended.wrong) == (2, []), ended
