"""The page on validity names tests and commands that are there, and its figures can be read off."""

from __future__ import annotations

import re
import subprocess
import sys

from doc_sandbox import ROOT

PAGE = (ROOT / "docs" / "validity.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)*)`")


def test_every_test_that_the_page_names_is_there() -> None:
    named = TEST.findall(PAGE)
    assert len(named) > 40
    for path, name in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"def {name.removeprefix('::')}(" in text, f"{path}{name}"
    for path in re.findall(r"`?(benchmarks/\w+\.\w+)", PAGE):
        assert (ROOT / path).is_file(), path


def test_every_row_is_measured_by_a_test_of_its_table() -> None:
    """The last cell of a row numbers the lines below its table, and no line is left over."""
    sections = [part for part in PAGE.split("\n## ") if "\n| claim |" in part]
    assert len(sections) > 5
    for section in sections:
        below = re.findall(r"^(\d+)\. ", section, re.MULTILINE)
        assert below == [str(n) for n in range(1, len(below) + 1)]
        rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
        cells = [row.split("|")[-2].strip() for row in rows]
        assert all(cell == "–" or re.fullmatch(r"\d+(, \d+)*", cell) for cell in cells), cells
        assert {number for cell in cells for number in re.findall(r"\d+", cell)} == set(below)


def test_deviations_are_measured_beside_the_bounds_of_tests() -> None:
    tests = [
        "tests/rate/test_measure.py::test_kl_rate_is_that_of_the_published_table",
        "tests/codecs/test_anchors.py::test_identity_gives_back_the_very_samples_and_has_no_rate",
        "tests/audio/test_resample.py::test_what_the_new_rate_cannot_hold_is_gone",
    ]
    done = subprocess.run(
        [sys.executable, "benchmarks/deviations.py", *tests],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    published = re.search(r"test_measure\.py:\d+ +1 +(\S+) +(\S+)  ± 5\.0e-03", done.stdout)
    assert published is not None
    assert 0 < float(published[1]) < 0.005  # 19.69 is rounded to two digits
    (exact,) = re.findall(r"test_anchors\.py:\d+ +1 +(\S+) +\S+  equal", done.stdout)
    assert float(exact) == 0
    bounded = re.search(r"test_resample\.py:\d+ +3 +(\S+) +–  < 2e-06", done.stdout)
    assert bounded is not None
    assert 0 < float(bounded[1]) < 2e-6
