"""Bold is for what is better for sure."""

from __future__ import annotations

import re

import make_run
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.arrays import by_domain
from rdbench.analysis.paired import holm, paired_p, paired_table
from rdbench.analysis.runs import Run
from rdbench.report.tables.html import web_table
from rdbench.report.tables.latex import latex
from rdbench.report.tables.markdown import table_page
from rdbench.report.tables.run_tables import RunTables, run_tables
from rdbench.store.schema import COLUMNS

CARD = {"name": "m", "unit": "", "direction": "higher", "identity": "nan", "version": 1}


def pair_run(gain: float, spread: float, *, rates: tuple[float, float] = (6.0, 6.1)) -> Run:
    """Two systems at one rate: "new" is better by `gain` on average, by ±`spread` per clip."""
    rows = []
    for number, system in enumerate(("old", "new")):
        for c in range(12):
            change = (gain + spread * (-1) ** c * (1 + c / 12)) * number
            shared = {
                "unit_key": "", "system": system, "curve": system, "point": "a",
                "variant": "codes", "clip": f"c{c}", "domain": "speech", "group": f"g{c}",
                "seconds": 2.0, "backend": "b", "status": "ok", "reason": "",
            }  # fmt: skip
            rows.append({**shared, "kind": "rate", "key": "payload", "unit": "bit",
                         "value": 2000 * rates[number], "backend": ""})  # fmt: skip
            rows.append({**shared, "kind": "metric", "key": "m", "unit": "",
                         "value": 3 + 0.1 * c + change})  # fmt: skip
    systems = {name: {"curve": name, "headline": "payload"} for name in ("old", "new")}
    manifest = {"systems": systems, "metrics": {"m": CARD}}
    return Run("pair", pd.DataFrame(rows, columns=list(COLUMNS)), manifest)


def scores(run: Run) -> list[bool]:
    tables = run_tables(run_points(run), run.manifest, run=run)
    (column,) = tables.domains[0].scores.columns
    return [cell.bold for cell in column.cells]


@pytest.fixture(scope="module")
def synthetic() -> Run:
    return Run("synthetic", make_run.make_frame(), make_run.make_manifest())


@pytest.fixture(scope="module")
def tables(synthetic: Run) -> RunTables:
    points = run_points(synthetic)
    return run_tables(points, synthetic.manifest, run=synthetic, reference="Opus")


def test_better_for_sure_is_bold() -> None:
    assert scores(pair_run(0.5, 0.05)) == [False, True]


def test_better_by_chance_is_not() -> None:
    assert scores(pair_run(0.05, 0.5)) == [False, False]


def test_equal_is_not() -> None:
    assert scores(pair_run(0.0, 0.0)) == [False, False]


def test_better_than_nothing_is_not() -> None:
    """The cheapest point has no rival, however good it is."""
    assert scores(pair_run(-0.5, 0.05)) == [False, False]


def test_what_is_dominated_is_not_bold_however_far_its_rates_lie_from_others() -> None:
    """VAE 3.11 at 12.9 kbps was bold beside Opus 3.75 at 11.5, and only just outside 10 %."""
    assert scores(pair_run(-0.5, 0.05, rates=(11.5, 12.9))) == [False, False]
    assert scores(pair_run(0.5, 0.05, rates=(11.5, 12.9))) == [False, True]


def test_points_of_the_same_curve_are_rivals() -> None:
    """A curve that falls: "new" at b is better than "old" and worse than itself at fewer bits."""
    run = pair_run(0.5, 0.05)
    more = run.rows[run.rows["system"] == "new"].assign(point="b")
    more["value"] = more["value"] + np.where(more["kind"] == "rate", 5000.0, -0.2)
    assert scores(Run("three", pd.concat([run.rows, more]), run.manifest)) == [False, True, False]


def test_a_curve_alone_is_better_than_nothing() -> None:
    run = pair_run(0.5, 0.05)
    rows = run.rows.assign(curve="one")
    manifest = {**run.manifest, "systems": {n: {"curve": "one", "headline": "payload"}
                                            for n in ("old", "new")}}  # fmt: skip
    assert scores(Run("pair", rows, manifest)) == [False, False]


def test_what_cannot_be_transmitted_is_no_rival() -> None:
    run = pair_run(0.5, 0.05)
    mean = run.rows[run.rows["kind"] == "metric"].assign(variant="mean")
    mean = mean[mean["system"] == "old"].assign(value=9.0)
    assert scores(Run("pair", pd.concat([run.rows, mean]), run.manifest)) == [False, False, True]


def test_a_kl_is_neither_bold_nor_a_rival() -> None:
    """Five of a run's bold scores were of samples, whose KL no stream has."""
    run = pair_run(0.5, 0.05)

    def at_kl(*systems: str) -> Run:
        rows = run.rows.copy()
        mine = rows["system"].isin(systems)
        rows.loc[mine, "variant"] = "sample"
        rows.loc[mine & (rows["kind"] == "rate"), "key"] = "kl"
        cards = {n: {"curve": n, "headline": "kl" if n in systems else "payload"} for n in
                 ("old", "new", "third")}  # fmt: skip
        return Run("kl", rows, {**run.manifest, "systems": cards})

    assert scores(at_kl("new")) == [False, False]
    best = at_kl("third")
    third = run.rows[run.rows["system"] == "new"].assign(
        system="third", curve="third", variant="sample"
    )
    third["key"] = third["key"].replace("payload", "kl")
    third["value"] = third["value"].where(third["kind"] == "rate", third["value"] + 1)
    both = Run("kl", pd.concat([run.rows, third]), best.manifest)
    tables = run_tables(run_points(both), both.manifest, run=both)
    assert scores(both) == [False, True, False]
    assert "points at a KL, a bound, left out" in tables.domains[0].scores.caption


def test_the_rates_are_of_the_compared_clips() -> None:
    """ "new" is dearer on all clips, and cheaper on those that both have."""
    run = pair_run(-0.5, 0.05, rates=(6.1, 6.0))
    rows = run.rows.copy()
    last = (rows["clip"] == "c11") & (rows["system"] == "new")
    rows.loc[last & (rows["kind"] == "rate"), "value"] *= 3
    rows.loc[last & (rows["kind"] == "metric"), ["status", "value"]] = "undefined", np.nan
    assert scores(Run("pair", rows, run.manifest)) == [True, False]


def test_every_writer_sets_the_same_cells_in_bold(tables: RunTables) -> None:
    found = {
        "markdown": len(re.findall(r"\*\*[^*]+\*\*", table_page(tables))),
        "latex": sum(latex([table]).count(r"\bfseries") for table in tables.all),
        "html": sum(web_table(table).count("<strong>") for table in tables.all),
    }
    cells = [cell for table in tables.all for column in table.columns for cell in column.cells]
    bold = sum(cell.bold for cell in cells)
    assert bold > 5
    assert found == dict.fromkeys(found, bold)


def test_where_lower_is_better_the_lower_is_bold() -> None:
    run = pair_run(0.5, 0.05, rates=(6.0, 6.0))
    manifest = {**run.manifest, "metrics": {"m": {**CARD, "direction": "lower"}}}
    assert scores(Run("pair", run.rows, manifest)) == [True, False]


def test_p_is_that_of_the_paired_t_test() -> None:
    run = pair_run(0.2, 0.3)
    (panel,) = by_domain(run)
    metric = next(iter(panel.metrics))
    values = panel.metrics[metric].values
    difference, p = paired_p(panel, metric, 1, 0)
    t = stats.ttest_rel(values[1], values[0]).statistic
    groups = values.shape[1]
    assert difference == pytest.approx(float((values[1] - values[0]).mean()))
    # Less of freedom what the skewness takes.
    assert p == pytest.approx(2 * stats.t.sf(abs(t), (groups - 1) ** 2 / groups), rel=1e-9)
    table = paired_table(run, pairs=[("new/a", "old/a")])
    assert p == pytest.approx(table["p"].iloc[0], rel=1e-9)


def test_a_family_larger_than_its_tests_is_corrected_for() -> None:
    p = np.array([0.01, 0.02])
    np.testing.assert_allclose(holm(p, tests=10), [0.1, 0.18])
    np.testing.assert_allclose(holm(p), [0.02, 0.02])


def test_the_curve_that_needs_fewest_bits_is_bold(synthetic: Run) -> None:
    rows = synthetic.rows[~synthetic.rows["system"].isin(["mp3"])]  # too few points for a VAE's
    run = Run("synthetic", rows, synthetic.manifest)
    tables = run_tables(run_points(run), run.manifest, run=run, reference="Opus")
    table = next(t for t in tables.all if t.name == "bd_rate_music")
    metric, curves = ([cell.text for cell in column.cells] for column in table.head[:2])
    cells = {
        curve: cell
        for name, curve, cell in zip(metric, curves, table.columns[0].cells, strict=True)
        if name == "ViSQOL audio"
    }
    assert [name for name, cell in cells.items() if cell.bold] == ["VAE"]
    values = {name: float(cell.text.replace("−", "-")) for name, cell in cells.items()}
    assert values["VAE"] == min(values.values())
    assert "Bold: fewer bits than every other curve" in table.caption
    assert "a KL is a bound and no stream" in table.caption
