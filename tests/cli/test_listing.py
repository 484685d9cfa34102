"""`rdbench codecs` and `rdbench metrics` on a narrow terminal, a wide one, and in a pipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from commands import rdbench
from terminals import in_a_terminal

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.registry import BUILT_IN
from rdbench.metrics.registry import definition, keys

METRICS = [sys.executable, "-m", "rdbench", "metrics"]


def test_the_list_of_metrics_is_a_table_that_80_columns_hold() -> None:
    _, shown = in_a_terminal(METRICS, 80, os.environ)
    done = rdbench("metrics")
    assert done.returncode == 0, done.stderr
    piped = done.stdout
    assert shown == piped
    table, hint = piped.split("\n\n")
    assert [line.split()[0] for line in table.splitlines()] == ["key", *keys()]
    assert max(map(len, piped.splitlines())) <= 80
    assert "rdbench metrics KEY" in hint


@pytest.mark.parametrize("columns", [40, 80])
def test_one_metric_is_told_whole_and_no_word_of_it_is_broken(columns: int) -> None:
    code, shown = in_a_terminal([*METRICS, "dnsmos_sig"], columns, os.environ)
    assert code == 0
    words = " ".join(shown.split())
    assert " ".join(definition("dnsmos_sig").definition.split()) in words
    assert "scores: a clip alone, without a reference" in words
    assert max(map(len, shown.splitlines())) <= columns


CODECS = [sys.executable, "-m", "rdbench", "codecs"]


def listed(*options: str) -> list[str]:
    done = rdbench("codecs", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_codecs_are_chosen_by_family_and_by_what_is_lacking(tmp_path: Path) -> None:
    families = listed("--family", "dac")
    assert {line.split()[1] for line in families[1:]} == {"dac"}
    done = rdbench("codecs", "--available", RDBENCH_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert "opus" in names
    assert "dac_16khz" not in names
    wrong = rdbench("codecs", "--family", "dacs")
    assert wrong.returncode == 2
    assert "there is no family 'dacs'; did you mean" in wrong.stderr


def test_one_codec_is_told_whole() -> None:
    said = "\n".join(listed("lyra"))
    for part in (
        "label: Lyra v2", "family: neural", "options: models", "ai_edge_litert (extra lyra)",
        "licence of the code: Apache-2.0", "licence of the weights: Apache-2.0",
        "cite: Zeghidour et al.",
    ):  # fmt: skip
        assert part in said


def test_a_terminal_shows_a_table_and_a_pipe_all_of_it() -> None:
    code, shown = in_a_terminal(CODECS, 80, os.environ)
    assert code == 0
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["codec", "family", "points", "(kbps)", "needs"]
    starts = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert set(BUILT_IN) <= starts
    whole = "\n".join(listed())
    assert all(owed.citation in whole for owed in CREDITS.values())
