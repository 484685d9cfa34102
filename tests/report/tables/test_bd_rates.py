"""BD-rates say against what, over what and when not."""

from __future__ import annotations

import io
from pathlib import Path

import make_run
import numpy as np
import pandas as pd
import pytest

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.runs import Run
from rdbench.report.config import ReportConfig
from rdbench.report.tables.run_tables import RunTables, run_tables
from rdbench.report.tables.table import TableColumn
from rdbench.report.write import write_all
from rdbench.types import RdbenchError


@pytest.fixture(scope="module")
def synthetic() -> Run:
    return Run("synthetic", make_run.make_frame(), make_run.make_manifest())


@pytest.fixture(scope="module")
def tables(synthetic: Run) -> RunTables:
    points = run_points(synthetic)
    return run_tables(points, synthetic.manifest, run=synthetic, reference="Opus")


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
    points = run_points(synthetic)
    with pytest.raises(RdbenchError, match="did you mean 'Opus'"):
        run_tables(points, synthetic.manifest, run=synthetic, reference="Opsu")


def test_a_seed_moves_what_is_drawn_of_bd_rates_and_no_interval(
    synthetic: Run, tmp_path: Path
) -> None:
    """A report's seed did not reach its BD-rates."""
    some = synthetic.rows[synthetic.rows["system"].isin(["opus", "mp3"])]
    some = some[(some["domain"] == "speech") & some["key"].isin(["payload", "stoi"])].copy()
    octaves = np.log2(some["point"].astype(float) / 32)
    slope = np.where(some["system"] == "mp3", 0.06, 0.08)  # the curves cross at 32 kbps
    noise = np.random.default_rng(0).normal(0, 0.02, len(some))
    some["value"] = some["value"].where(some["kind"] == "rate", 0.7 + slope * octaves + noise)
    make_run.write_run(tmp_path / "run", some)
    found = []
    for seed in (0, 0, 1):
        out = tmp_path / f"out{len(found)}"
        write_all(tmp_path / "run", out=out, config=ReportConfig(seed=seed, formats=()))
        found.append((out / "tables" / "bd_rate.csv").read_text())
    assert found[0] == found[1] != found[2]
    first, _, other = [pd.read_csv(io.StringIO(text)) for text in found]
    assert (first["crossing_share"] != other["crossing_share"]).all()
    assert first.drop(columns="crossing_share").equals(other.drop(columns="crossing_share"))
