"""Tables as one page that needs nothing beside it."""

from __future__ import annotations

import make_run
import pytest
from html_page import Page

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.runs import Run
from rdbench.report.tables.html import web_page
from rdbench.report.tables.run_tables import RunTables, run_tables


@pytest.fixture(scope="module")
def synthetic() -> Run:
    return Run("synthetic", make_run.make_frame(), make_run.make_manifest())


@pytest.fixture(scope="module")
def tables(synthetic: Run) -> RunTables:
    points = run_points(synthetic)
    return run_tables(points, synthetic.manifest, run=synthetic, reference="Opus")


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
