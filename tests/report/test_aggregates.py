"""Costs belong to a machine, and what shows them says which."""

from __future__ import annotations

import make_run
import pandas as pd
import pytest

from rdbench.analysis.aggregate import points
from rdbench.report.aggregates import machine_costs
from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.complexity import draw_complexity
from rdbench.report.figures.panel import find_panels
from rdbench.report.figures.style import Look, card_styles, figure_style
from rdbench.report.tables.markdown import table_page
from rdbench.report.tables.run_tables import run_tables

OURS, THEIRS = "Xeon, 2 cores #a1b2c3", "EPYC, 64 cores #d4e5f6"


@pytest.fixture(scope="module")
def two_machines() -> pd.DataFrame:
    """Aggregates of costs measured on two machines, of which one is five times as fast."""
    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "rvq"])]
    costs = frame["kind"] == "cost"
    ours = frame.assign(backend=frame["backend"].mask(costs, OURS))
    theirs = frame[costs].assign(backend=THEIRS)
    theirs["value"] = theirs["value"].mask(theirs["unit"] == "s/s", theirs["value"] / 5)
    return points(pd.concat([ours, theirs], ignore_index=True))


def manifest(machine: str | None) -> dict:
    found = make_run.make_manifest()
    return found if machine is None else {**found, "execution": {"machine": machine}}


@pytest.mark.parametrize(
    ("machine", "shown", "other"),
    [(OURS, OURS, THEIRS), (THEIRS, THEIRS, OURS), (None, THEIRS, OURS)],
)
def test_tables_show_the_costs_of_the_runs_own_machine(
    two_machines: pd.DataFrame, machine: str | None, shown: str, other: str
) -> None:
    tables = run_tables(two_machines, manifest(machine))
    assert tables.costs is not None
    assert tables.costs.notes[0].startswith("Real-time factors are")
    assert tables.costs.notes[1:] == [
        f"Measured on {shown}.",
        f"Costs were also measured on other machines, and are not shown: {other}.",
    ]
    encode = next(c for c in tables.costs.columns if c.title.startswith("encode"))
    assert encode.cells[0].text == {OURS: "0.0120", THEIRS: "0.0024"}[shown]
    assert f"Measured on {shown}" in table_page(tables)


def test_figures_show_the_costs_of_the_runs_own_machine(two_machines: pd.DataFrame) -> None:
    card = describe(two_machines, manifest(OURS))
    config = ReportConfig(labels="legend")
    panels, _ = find_panels(two_machines, card, config)
    with figure_style():
        made = draw_complexity(panels[0], two_machines, Look(card, card_styles(card), config))
    assert made is not None
    figure, numbers = made
    opus = numbers[numbers["system"] == "opus"]["real_time_factor"]
    assert opus.to_numpy() == pytest.approx(0.016)
    assert OURS in figure.get_suptitle()


def test_a_run_of_no_named_machine_says_none() -> None:
    frame = make_run.make_frame()
    costs, machine, others = machine_costs(points(frame), "")
    assert len(costs)
    assert (machine, others) == ("", [])
