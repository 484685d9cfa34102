"""A comparison says what its numbers stand on."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rdbench.analysis.compare import all_tables
from rdbench.report.cards import describe
from rdbench.report.text.comparison import comparison_text

sys.path.append(str(Path(__file__).resolve().parents[2] / "analysis"))
from small_runs import CURVES, make_run


def text(curves: dict[str, tuple[str, dict[str, float], float]]) -> str:
    run = make_run(curves)
    tables = all_tables(run, anchor="old", metrics=["quality"], resamples=100)
    return comparison_text(tables, describe(run.rows, run.manifest), reference="old")


def under(page: str, title: str) -> list[str]:
    """The lines of the table below a title."""
    return page[page.index(title) :].split("\n\n")[1].splitlines()


def test_range_and_shares_stand_beside_every_bd_rate() -> None:
    page = text(CURVES)
    head, row = under(page, "BD-rate against Old")
    assert "taken over" in head
    assert "of curve / reference" in head
    assert "gap in curve / reference" in head
    assert row.count("%") == 4
    assert "little weight" not in page


def test_what_rests_on_little_of_a_curve_stands_apart() -> None:
    high = {"25": 25.0, "40": 40.0, "60": 60.0, "90": 90.0}
    page = text(CURVES | {"far": ("payload", high, 9.0)})
    title = "BD-rate against Old: change in bits at equal quality, %"
    assert "Far" not in "\n".join(under(page, title))
    apart = f"{title}, of little weight: over less than 20 % of a curve"
    assert "Far" in "\n".join(under(page, apart))


def test_what_is_taken_across_a_gap_stands_apart_and_says_so() -> None:
    far = {"5": 5.0, "7": 7.0, "40": 40.0, "60": 60.0}
    page = text(CURVES | {"holed": ("payload", far, 6.0)})
    apart = "change in bits at equal quality, %, of little weight"
    assert "Holed" in "\n".join(under(page, apart))
    told = re.findall(r"Holed, quality: no point of holed on \d+ % of the qualities", page)
    assert len(told) == 1  # and not once more for Akima


def test_a_system_of_one_rate_is_read_at_its_quality_and_not_refused() -> None:
    page = text(CURVES | {"single": ("payload", {"8": 8.0}, 6.0)})
    lines = under(page, "at the quality of the one of the two")
    row = next(line for line in lines if "Single" in line)
    assert "at 3.32" in row
    assert "[" in row
    assert "Not compared" not in page


def test_rates_of_pairs_say_their_kind_and_what_is_none_is_marked() -> None:
    run = make_run(CURVES | {"new": ("kl", {"12": 12.0, "40": 40.0}, 6.0)})
    mean = run.rows[run.rows["system"] == "new"].assign(variant="mean")
    run = replace(run, rows=pd.concat([run.rows, mean], ignore_index=True))
    card = describe(run.rows, run.manifest)

    def page(**given: Any) -> str:
        tables = all_tables(run, anchor="old", metrics=["quality"], resamples=100, **given)
        return comparison_text(tables, card, reference="old")

    near = page()
    head, row = under(near, "Paired differences at single points (1 test, Holm-corrected)")
    assert "point (kbps)" in head
    assert "New 12 (12.00 kl)" in row
    assert "Old 12 (12.00 payload)" in row
    far = under(near, "Points not compared")[1]
    assert "New 40 (40.00 kl)" in far
    assert "--pair new/40=old/30" in far
    assert "°" not in near
    named = page(pairs=[("new/12/mean", "old/12")])
    assert "New 12 mean °  Old 12 (12.00 payload)" in named
    assert "° not a rate point" in named


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_gets_paragraphs_and_no_broken_rows(width: int) -> None:
    run = make_run(CURVES)
    tables = all_tables(run, anchor="old", metrics=["quality"], resamples=100)
    card = describe(run.rows, run.manifest)
    narrow = comparison_text(tables, card, reference="old", width=width)
    assert max(map(len, narrow.splitlines())) <= width
    words = " ".join(narrow.split())
    assert "quality New 12 (12.00 payload) against (kbps): Old 12 (12.00 payload);" in words
    # The answer of a table that does not fit, whole, behind its title.
    assert "answer: none within 10 % in rate; --pair new/5=old/6 compares them" in words
    wide = comparison_text(tables, card, reference="old", width=400)
    assert wide == comparison_text(tables, card, reference="old")


@pytest.mark.parametrize("kbps", [1.0, 90.0])
def test_one_rate_beyond_the_curve_is_refused_in_a_sentence(kbps: float) -> None:
    page = text(CURVES | {"single": ("payload", {"x": kbps}, 6.0)})
    assert "refused: single is at" in page
