"""A metric of a set of clips: a value like any other, and none for a clip."""

from __future__ import annotations

import math

import make_run
import pandas as pd
import pytest

from rdbench.analysis.aggregate import points
from rdbench.analysis.runs import Run
from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.panel import find_panels
from rdbench.report.html.content import Content, clip_scores, overview, scores_of
from rdbench.report.html.numbering import number
from rdbench.report.tables.markdown import table_page
from rdbench.report.tables.run_tables import run_tables

KEY = "frechet_logmel"


@pytest.fixture(scope="module")
def run() -> Run:
    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "mp3"]) & (frame["domain"] == "speech")]
    one = frame[(frame["key"] == "stoi")].drop_duplicates(["system", "point"])
    sets = one.assign(
        clip="", group="", key=KEY, backend="torch", unit="", status="ok", reason="",
        value=[1.0 + 0.1 * n for n in range(len(one))],
    )  # fmt: skip
    failed = sets["system"].eq("mp3") & sets["point"].eq("16")
    sets.loc[failed, ["value", "status", "reason"]] = [math.nan, "failed", "a clip has no feature"]
    manifest = make_run.make_manifest()
    card = {"name": "Fréchet", "direction": "lower", "scope": "set", "identity": 0.0, "version": 1}
    manifest["metrics"] = {**manifest["metrics"], KEY: card}
    return Run("sets", pd.concat([frame, sets], ignore_index=True), manifest)


@pytest.fixture(scope="module")
def aggregates(run: Run) -> pd.DataFrame:
    """The aggregates, with an interval as the analysis gives it to a metric of sets."""
    table = points(run.rows, manifest=run.manifest)
    hit = (table["key"] == KEY) & table["value"].notna()
    return table.assign(
        low=table["low"].mask(hit, table["value"] - 0.05),
        high=table["high"].mask(hit, table["value"] + 0.05),
    )


def test_tables_say_set_where_clips_would_be_counted(run: Run, aggregates: pd.DataFrame) -> None:
    tables = run_tables(aggregates, run.manifest, run=run)
    (speech,) = tables.domains
    column = next(c for c in speech.scores.columns if c.title.startswith("Fréchet"))
    assert column.cells[0].plain == "1.000 [0.950, 1.050]"
    lost = [cell for cell in column.cells if cell.text == "–"]
    assert [cell.count for cell in lost] == ["set"]
    rows = [line for line in table_page(tables).splitlines() if "a clip has no feature" in line]
    assert [cell.strip() for cell in rows[0].split("|")][-3] == "set"


def test_figures_draw_it_like_any_other(run: Run, aggregates: pd.DataFrame) -> None:
    card = describe(aggregates, run.manifest)
    panels, _ = find_panels(aggregates, card, ReportConfig())
    panel = next(p for p in panels if p.metric.key == KEY)
    assert panel.data["low"].notna().sum() == panel.data["value"].notna().sum() > 5


def test_views_of_clips_leave_it_out(run: Run, aggregates: pd.DataFrame, tmp_path) -> None:
    card = describe(aggregates, run.manifest)
    content = Content(tmp_path, run, aggregates, card, number(run.rows, aggregates, card))
    told = overview(content)
    (index,) = [i for i, metric in enumerate(told["metrics"]) if metric["set"]]
    assert told["domains"][0]["metrics"][index]
    assert scores_of(content, 0, index) == []
    scores = clip_scores(content, 0)["scores"]
    assert all(values[index] is None for values in scores.values())


def test_a_metric_without_a_reference_has_no_ceiling() -> None:
    manifest = {"metrics": {"m": {"identity": 5.0, "scope": "clip_alone"}}}
    columns = ["system", "curve", "variant", "kind", "key", "unit"]
    card = describe(pd.DataFrame(columns=columns), manifest)
    assert math.isnan(card.metrics["m"].identity)
