"""Standard streams that are closed, full, narrow, or that nobody reads any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAY = """
from rdbench import streams
streams.hold()
import sys
sys.stdout.write("out ≈ \\udcff\\n" * 3); sys.stdout.flush()
sys.stderr.write("err ≈ \\udcff\\n"); sys.stderr.flush()
open("done", "w").write("work")
"""


def shell(
    tmp_path: Path, streams: str, **more: str
) -> tuple[subprocess.CompletedProcess[bytes], str]:
    """Runs SAY with its streams as a shell would set them; also what the work came to."""
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$SAY" {streams}'],
        cwd=tmp_path, env={**os.environ, "SAY": SAY, **more}, capture_output=True,
        check=False,
    )  # fmt: skip
    made = tmp_path / "done"
    return done, made.read_text() if made.exists() else ""


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_nothing_and_no_file_gets_their_numbers(
    tmp_path: Path, streams: str
) -> None:
    done, made = shell(tmp_path, streams)
    assert (done.returncode, made) == (0, "work")
    assert ("out ≈".encode() in done.stdout) == (">&-" not in streams.replace("2>&-", ""))


def test_where_stderr_is_closed_its_words_are_on_stdout(tmp_path: Path) -> None:
    assert "err ≈ \\udcff".encode() in shell(tmp_path, "2>&-")[0].stdout


@pytest.mark.parametrize("streams", ["| true", "2>&1 | true", "2> >(true)", "2>/dev/full"])
def test_a_reader_that_goes_and_a_log_that_is_full_cost_nothing(
    tmp_path: Path, streams: str
) -> None:
    done, made = shell(tmp_path, streams)
    assert made == "work"
    assert b"Exception" not in done.stderr


def test_what_cannot_be_written_to_stdout_is_told_once(tmp_path: Path) -> None:
    done, made = shell(tmp_path, "> /dev/full")
    assert made == ""
    assert b"No space left on device: 'standard output'" in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8:strict", "cp437"])
def test_signs_that_an_encoding_lacks_are_replaced(tmp_path: Path, encoding: str) -> None:
    done, made = shell(tmp_path, "", PYTHONIOENCODING=encoding)
    assert (done.returncode, made) == (0, "work")
    assert len(done.stdout.splitlines()) == 3
    assert b"\\udcff" in done.stderr  # a file name's byte that is no text
