"""`rdbench codecs` and `rdbench metrics` on a narrow terminal, a wide one, and in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from terminals import in_a_terminal

from rdbench.metrics.registry import definition, keys

METRICS = [sys.executable, "-m", "rdbench", "metrics"]


@pytest.mark.parametrize("columns", [40, 80])
def test_no_word_of_a_definition_is_broken(columns: int) -> None:
    code, shown = in_a_terminal(METRICS, columns, os.environ)
    assert code == 0
    words = " ".join(shown.split())
    assert all(" ".join(definition(key).definition.split()) in words for key in keys())
    assert max(map(len, shown.splitlines())) <= columns


def test_a_row_is_a_line_where_there_is_room_and_in_a_pipe() -> None:
    _, shown = in_a_terminal(METRICS, 400, os.environ)
    piped = subprocess.run(METRICS, capture_output=True, text=True, check=True).stdout
    assert shown == piped
    assert [line.split()[0] for line in piped.splitlines()] == ["key", *keys()]
