"""Bold is for what is better for sure, and BD-rates say against what, over what and when not."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from pathlib import Path

import make_run
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rdbench.analysis.arrays import by_domain
from rdbench.analysis.paired import holm, paired_p, paired_table
from rdbench.analysis.runs import Run
from rdbench.report.aggregates import aggregates
from rdbench.report.tables.cells import TableColumn
from rdbench.report.tables.files import write_tables
from rdbench.report.tables.run import RunTables, run_tables
from rdbench.report.tables.web import web_page
from rdbench.store.schema import COLUMNS
from rdbench.types import RdbenchError

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
    tables = run_tables(aggregates(run, resamples=50), run.manifest, run=run)
    (column,) = tables.domains[0].scores.columns
    return [cell.bold for cell in column.cells]


def test_better_for_sure_is_bold() -> None:
    assert scores(pair_run(0.5, 0.05)) == [False, True]


def test_better_by_chance_is_not() -> None:
    assert scores(pair_run(0.05, 0.5)) == [False, False]


def test_equal_is_not() -> None:
    assert scores(pair_run(0.0, 0.0)) == [False, False]


def test_better_at_more_bits_is_not() -> None:
    assert scores(pair_run(0.5, 0.05, rates=(6.0, 6.7))) == [False, False]


def test_where_lower_is_better_the_lower_is_bold() -> None:
    run = pair_run(0.5, 0.05)
    manifest = {**run.manifest, "metrics": {"m": {**CARD, "direction": "lower"}}}
    assert scores(Run("pair", run.rows, manifest)) == [True, False]


def test_p_is_that_of_the_paired_t_test() -> None:
    run = pair_run(0.2, 0.3)
    (panel,) = by_domain(run)
    metric = next(iter(panel.metrics))
    values = panel.metrics[metric].values
    difference, p = paired_p(panel, metric, 1, 0)
    expected = stats.ttest_rel(values[1], values[0])
    assert difference == pytest.approx(float((values[1] - values[0]).mean()))
    assert p == pytest.approx(expected.pvalue, rel=1e-9)
    table = paired_table(run, pairs=[("new/a", "old/a")])
    assert p == pytest.approx(table["p"].iloc[0], rel=1e-9)


def test_a_family_larger_than_its_tests_is_corrected_for() -> None:
    p = np.array([0.01, 0.02])
    np.testing.assert_allclose(holm(p, tests=10), [0.1, 0.18])
    np.testing.assert_allclose(holm(p), [0.02, 0.02])


@pytest.fixture(scope="module")
def synthetic() -> Run:
    return Run("synthetic", make_run.make_frame(), make_run.make_manifest())


@pytest.fixture(scope="module")
def tables(synthetic: Run) -> RunTables:
    points = aggregates(synthetic, resamples=100)
    return run_tables(points, synthetic.manifest, run=synthetic, anchor="Opus")


def column(tables: RunTables, name: str, title: str) -> tuple[list[str], TableColumn]:
    table = next(t for t in tables.all if t.name == name)
    return [cell.text for cell in table.head[0].cells], next(
        c for c in table.columns if c.title == title
    )


def test_bd_rates_are_those_of_the_comparison(synthetic: Run, tables: RunTables) -> None:
    from rdbench.analysis.compare import bd_rate

    found = bd_rate(synthetic.rows, manifest=synthetic.manifest, anchor="Opus")
    row = found[
        (found["domain"] == "music") & (found["curve"] == "MP3") & (found["key"] == "visqol_audio")
        & (found["quantity"] == "bd_rate") & (found["method"] == "pchip")
    ].iloc[0]  # fmt: skip
    curves, cells = column(tables, "bd_rate_music", "ViSQOL audio")
    cell = cells.cells[curves.index("MP3")]
    assert cell.text == f"{row['value']:+.1f}"
    assert (cell.low, cell.high) == (f"{row['low']:+.1f}", f"{row['high']:+.1f}")
    assert not cell.bold


def test_the_curve_that_needs_fewest_bits_is_bold(tables: RunTables) -> None:
    curves, cells = column(tables, "bd_rate_music", "ViSQOL audio")
    assert [name for name, cell in zip(curves, cells.cells, strict=True) if cell.bold] == ["VAE"]
    values = {name: float(cell.text.replace("−", "-").replace("–", "nan"))
              for name, cell in zip(curves, cells.cells, strict=True)}  # fmt: skip
    assert values["VAE"] == min(v for v in values.values() if math.isfinite(v))
    table = next(t for t in tables.all if t.name == "bd_rate_music")
    assert "Bold: fewer bits than every other curve" in table.caption


def test_streams_that_decode_have_a_table_of_their_own(tables: RunTables) -> None:
    table = next(t for t in tables.all if t.name == "bd_rate_streams_music")
    assert [cell.text for cell in table.head[0].cells].count("VAE") == 1
    kinds = [cell.text for cell in table.head[1].cells]
    assert "coded : payload" in kinds
    assert any("KL is a bound" in note for t in tables.all for note in t.notes)


def test_what_has_no_bd_rate_is_said(tables: RunTables) -> None:
    music = next(part for part in tables.domains if part.domain == "music")
    said = " ".join(music.missing)
    assert "RVQ 6 kbps only" in said
    assert "refused" in said


def test_an_unknown_anchor_is_one_sentence(synthetic: Run) -> None:
    points = aggregates(synthetic, resamples=20)
    with pytest.raises(RdbenchError, match="did you mean 'Opus'"):
        run_tables(points, synthetic.manifest, run=synthetic, anchor="Opsu")


class Page(HTMLParser):
    """Collects tags and the text of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.strong: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside |= tag == "strong"

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "strong"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.strong.append(data)


def test_html_has_every_table_and_needs_nothing_beside_it(tables: RunTables) -> None:
    page = Page(web_page(tables.all, title="a & b <c>"))
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption") == len(tables.all)
    assert not {"script", "img", "link", "iframe", "a"} & set(names)
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    bold = [c.text for t in tables.all for col in t.columns for c in col.cells if c.bold]
    assert len(page.strong) == len(bold) > 0


def test_files_are_written_for_papers_pages_and_programs(synthetic: Run, tmp_path: Path) -> None:
    some = synthetic.rows[synthetic.rows["system"].isin(["opus", "mp3"])]
    run = Run("two", some, synthetic.manifest)
    write_tables(tmp_path, points=aggregates(run, resamples=20), manifest=run.manifest, run=run)
    bd = pd.read_csv(tmp_path / "tables" / "bd_rate.csv")
    assert set(bd["reference"]) == {"Opus"}
    assert {"value", "low", "high", "reason", "range_low"} <= set(bd.columns)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "### BD-rate against Opus" in text
    assert "## Metrics" in text
    assert "PESQ-WB (pesq_wb): version 1, MOS-LQO, higher is better, by reference." in text
    assert (tmp_path / "tables" / "tables.html").is_file()
    assert (tmp_path / "tables" / "costs.tex").is_file()


def test_points_stand_in_natural_order_everywhere(synthetic: Run, tmp_path: Path) -> None:
    rows = synthetic.rows[synthetic.rows["system"].isin(["rvq", "lyra"])]
    rows = rows.iloc[::-1]  # as they may have been written
    run = Run("two", rows, synthetic.manifest)
    points = aggregates(run, resamples=20)
    write_tables(tmp_path, points=points, manifest=run.manifest, run=run)
    table = pd.read_csv(tmp_path / "table.csv", dtype={"point": str})
    rvq = table[table["system"] == "rvq"]["point"]
    assert list(dict.fromkeys(rvq)) == ["1.5", "3", "6", "12"]
    assert list(dict.fromkeys(table["system"])) == ["lyra", "rvq"]
    costs = run_tables(points, run.manifest).costs
    assert costs is not None
    assert [c.text for c in costs.head[1].cells] == ["3.2", "6", "9.2", "1.5", "3", "6", "12"]
