"""LaTeX tables: whole, aligned, escaped, and accepted by TeX where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import hostile_run
import make_run
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_write_tables import compare

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.runs import Run
from rdbench.report.tables.latex import escape, latex
from rdbench.report.tables.run_tables import RunTables, run_tables
from rdbench.report.tables.table import Cell, Table, TableColumn, words

ROW = re.compile(r"(?<!\\)&")


@pytest.fixture(scope="module")
def tables() -> RunTables:
    run = Run("synthetic", make_run.make_frame(), make_run.make_manifest())
    points = run_points(run)
    return run_tables(points, run.manifest, run=run, reference="Opus")


@pytest.fixture(scope="module")
def hostile() -> RunTables:
    run = hostile_run.hostile_names()
    points = run_points(run)
    return run_tables(points, run.manifest, run=run)


def columns_of(spec: str) -> int:
    """How many columns the argument of a tabular declares."""
    bare = re.sub(r"S\[[^]]*\]", "S", spec)
    return len(re.sub(r"@\{[^}]*\}", "", bare))


def check(text: str) -> None:
    """Environments are closed, braces balanced, rows as wide as their tabular declares."""
    open_: list[str] = []
    width = 0
    for line in text.splitlines():
        for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", line):
            if kind == "begin":
                open_.append(name)
            else:
                assert open_.pop() == name
        bare = re.sub(r"\\[\\{}]", "", line)
        assert bare.count("{") == bare.count("}"), line
        assert "$" not in re.sub(r"\\\$", "", line)
        assert not re.search(r"(?<!\\)[#~^]", line.replace(r"\ensuremath{^", "")), line
        assert line.isprintable()
        start = re.match(r"\\begin\{tabular\}\{(.*)\}$", line)
        if start:
            width = columns_of(start.group(1))
        if line.endswith(r"\\"):
            cells = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d)\}", line))
            assert len(ROW.findall(line)) + 1 + cells == width, line
    assert not open_


def test_points_are_as_they_were(tables: RunTables, regenerate: bool) -> None:
    music = next(t for t in tables.all if t.name == "points_music")
    compare(latex([music]), "points_music.tex", regenerate=regenerate)


def test_every_table_is_sound(tables: RunTables) -> None:
    names = [table.name for table in tables.all]
    assert len(names) == len(set(names))
    assert {"points_speech", "rates_music", "bd_rate_speech", "costs"} <= set(names)
    for table in tables.all:
        check(latex([table]))


def test_a_caption_states_corpus_protocol_and_kind_of_rate(tables: RunTables) -> None:
    for table in tables.all:
        text = latex([table])
        caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
        assert "Corpus: synthetic scores." in caption
        assert "Protocol: sample rate 16 kHz" in caption
        if table.name.startswith(("points", "bd")):
            assert "payload" in caption
            assert re.search(r"95 \\% intervals", caption)


def test_numbers_are_set_by_siunitx_and_intervals_beside_them(tables: RunTables) -> None:
    text = latex([next(t for t in tables.all if t.name == "points_speech")])
    assert r"\usepackage{booktabs,siunitx}" in text
    assert "table-format=1.2, detect-weight" in text
    assert re.search(r"& 4\.64 &  &", text)  # the identity has no interval
    assert re.search(r"\{\\scriptsize \{\[\}\d\.\d\d, \d\.\d\d\{\]\} 17/18\}", text)
    assert "residual delay" not in text
    bd = latex([next(t for t in tables.all if t.name == "bd_rate_speech")])
    assert "retain-explicit-plus" in bd
    assert re.search(r"-\d+\.\d", bd)


def test_a_wide_and_long_table_is_spread_over_floats() -> None:
    rows = [f"system {i // 10}" for i in range(200)]
    head = [words("system", rows), words("point", [str(i % 10) for i in range(200)], right=True)]
    cells = [Cell("1.23", "1.20", "1.26")] * 200
    wide = Table("t", "T", "A caption.", head, [TableColumn(f"m{i}", cells) for i in range(12)])
    text = latex([wide])
    check(text)
    floats = text.count(r"\begin{table*}")
    assert floats == text.count(r"\end{table*}") > 4
    assert text.count("(continued)") == floats - 1
    assert text.count(r"1.23 & {\scriptsize") == 12 * 200
    for part in text.split(r"\begin{table*}")[1:]:
        body = part.split(r"\midrule")[1]
        assert 0 < body.count(r"\\") <= 46
        assert "system" in body.splitlines()[1]  # a float begins with a name


@given(st.text(max_size=60))
def test_no_text_reaches_tex_raw(text: str) -> None:
    safe = escape(text)
    safe.encode("latin-1" if not re.search("[\u0100-\u017f]", safe) else "utf-8")
    bare = re.sub(r"\\(ensuremath|text[a-z]+|ldots|[&%$#_{}])", "", safe)
    assert not re.search(
        r"[$#%&~^<>|*]|\\input", re.sub(r"\{[*\"`'\-\[\]]\}|\\[a-z]+|\^\{|~", "", bare)
    )
    assert bare.count("{") == bare.count("}")


def test_special_signs_and_letters() -> None:
    assert escape("% & _ # $ { }") == r"\% \& \_ \# \$ \{ \}"
    assert escape("\\x") == r"\textbackslash{}x"
    assert escape("β ≤ 3 – é ą") == r"\ensuremath{\beta} \ensuremath{\leq} 3 -- é ą"
    assert escape("\u202e\U0001f3b5") == r"\texttt{U+202E}\texttt{U+1F3B5}"
    assert escape("Δ Α ς ο") == r"\ensuremath{\Delta} A \texttt{U+03C2} \texttt{U+03BF}"


def test_hostile_names_stay_text(hostile: RunTables) -> None:
    for table in hostile.all:
        text = latex([table])
        check(text)
        assert r"\input" not in text
        assert r"\LaTeX" not in text
        assert "w" * 40 not in text


def test_tex_accepts_every_table(tables: RunTables, hostile: RunTables, tmp_path: Path) -> None:
    tex = shutil.which("pdflatex")
    if tex is None:
        pytest.skip("there is no pdflatex here (Debian: texlive-science)")
    body = [latex([table]) for part in (tables, hostile) for table in part.all]
    document = "\n\\clearpage\n".join(body)
    (tmp_path / "all.tex").write_text(
        "\\documentclass[twocolumn]{article}\n\\usepackage[margin=0.75in]{geometry}\n"
        f"\\usepackage{{booktabs,siunitx}}\n\\begin{{document}}\n{document}\n\\end{{document}}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [tex, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=240, check=False,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if line.startswith("!")]
    assert done.returncode == 0, errors
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


def test_greek_capitals_that_are_latin_letters_are_those() -> None:
    assert [escape(c) for c in "ΑΒΕ"] == ["A", "B", "E"]


def test_an_empty_run_has_no_tables() -> None:
    empty = pd.DataFrame(columns=make_run.make_frame().columns)
    run = Run("empty", empty, make_run.make_manifest())
    assert run_tables(run_points(run), run.manifest, run=run).all == []
