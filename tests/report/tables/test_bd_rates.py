"""BD-rates say against what, over what and when not."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import make_run
import numpy as np
import pandas as pd
import pytest

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.runs import Run
from rdbench.report.config import ReportConfig
from rdbench.report.tables.html import web_page, web_table
from rdbench.report.tables.latex import latex
from rdbench.report.tables.markdown import table_page
from rdbench.report.tables.run_tables import RunTables, run_tables
from rdbench.report.tables.table import Cell
from rdbench.report.tables.write import write_tables
from rdbench.report.write import write_all
from rdbench.types import RdbenchError


def web_tables(tables: RunTables) -> str:
    return "\n".join(map(web_table, tables.all))


@pytest.fixture(scope="module")
def synthetic() -> Run:
    return Run("synthetic", make_run.make_frame(), make_run.make_manifest())


@pytest.fixture(scope="module")
def tables(synthetic: Run) -> RunTables:
    points = run_points(synthetic)
    return run_tables(points, synthetic.manifest, run=synthetic, reference="Opus")


def line(tables: RunTables, name: str, metric: str, curve: str) -> dict[str, Cell]:
    """The cells of one metric and curve by their columns' titles."""
    table = next(t for t in tables.all if t.name == name)
    columns = [*table.head, *table.columns]
    rows = zip(*(column.cells for column in columns), strict=True)
    (found,) = [row for row in rows if (row[0].text, row[1].text) == (metric, curve)]
    return dict(zip([column.title for column in columns], found, strict=True))


def test_bd_rates_are_those_of_the_comparison(synthetic: Run, tables: RunTables) -> None:
    from rdbench.analysis.compare import bd_rate

    found = bd_rate(synthetic.rows, manifest=synthetic.manifest, anchor="Opus")
    row = found[
        (found["domain"] == "music") & (found["curve"] == "MP3") & (found["key"] == "visqol_audio")
        & (found["quantity"] == "bd_rate") & (found["method"] == "pchip")
    ].iloc[0]  # fmt: skip
    cells = line(tables, "bd_rate_music", "ViSQOL audio", "MP3")
    cell = cells["BD-rate (%)"]
    assert cell.text == f"{row['value']:+.1f}"
    assert (cell.low, cell.high) == (f"{row['low']:+.1f}", f"{row['high']:+.1f}")
    assert not cell.bold
    assert cells["quality"].text == f"{row['range_low']:.2f} … {row['range_high']:.2f}"
    shares = [int(100 * row[side]) for side in ("share_curve", "share_reference")]
    assert cells["shares (%)"].text == f"{shares[0]} / {shares[1]}"


def test_streams_that_decode_have_a_table_of_their_own(tables: RunTables) -> None:
    table = next(t for t in tables.all if t.name == "bd_rate_streams_music")
    assert "VAE" in [cell.text for cell in table.head[1].cells]
    kinds = [cell.text for cell in table.head[2].cells]
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


@pytest.mark.parametrize("write", [table_page, lambda tables: latex(tables.all), web_tables])
def test_every_writer_shows_ranges_shares_repairs_and_what_stands_apart(
    synthetic: Run, write: Callable[[RunTables], str]
) -> None:
    rows = synthetic.rows[synthetic.rows["domain"] == "speech"].copy()
    dip = (rows["system"] == "mp3") & (rows["point"] == "32") & (rows["key"] == "stoi")
    before = (rows["system"] == "mp3") & (rows["point"] == "24") & (rows["key"] == "stoi")
    rows.loc[dip, "value"] = rows.loc[before, "value"].to_numpy() - 0.001
    far = (rows["system"] == "lyra") & (rows["kind"] == "metric") & (rows["key"] == "stoi")
    means = rows[rows["key"] == "stoi"].groupby(["system", "point"])["value"].mean()
    top = means["opus"].min() + 0.05 * (means["opus"].max() - means["opus"].min())
    rows.loc[far, "value"] += top - means["lyra"].max()
    run = Run("speech", rows, synthetic.manifest)
    found = run_tables(run_points(run), run.manifest, run=run, reference="Opus")
    text = re.sub(r"\\ensuremath{\^{\\ddagger}}", "‡", write(found))
    assert "shares" in text
    assert "quality" in text
    assert "made monotone by moving points within their intervals (STOI: mp3 24, mp3 32)" in text
    apart = next(table for table in found.all if table.name == "bd_rate_narrow_speech")
    names = list(zip(*([cell.text for cell in column.cells] for column in apart.head), strict=True))
    assert ("STOI", "Lyra v2") in [name[:2] for name in names]
    assert line(found, "bd_rate_speech", "STOI", "VAE")["BD-rate (%)"].text
    assert not any(cell.bold for column in apart.columns for cell in column.cells)
    assert "over less than 20" in text


@pytest.mark.parametrize("write", [table_page, lambda tables: latex(tables.all), web_tables])
def test_every_writer_sets_apart_what_is_taken_across_a_gap(
    synthetic: Run, write: Callable[[RunTables], str]
) -> None:
    rows = synthetic.rows[synthetic.rows["domain"] == "speech"].copy()
    stoi = (rows["kind"] == "metric") & (rows["key"] == "stoi") & rows["system"].isin(["opus"])
    means = rows[stoi].groupby("point")["value"].mean()
    middle = (means.max() + means.min()) / 2
    rows.loc[stoi, "value"] = np.where(
        rows.loc[stoi, "point"].map(means) > middle,
        means.max() + 0.01 * (rows.loc[stoi, "value"] - means.max()),
        means.min() + 0.01 * (rows.loc[stoi, "value"] - means.min()),
    )
    run = Run("speech", rows, synthetic.manifest)
    found = run_tables(run_points(run), run.manifest, run=run, reference="Opus")
    cells = line(found, "bd_rate_narrow_speech", "STOI", "MP3")
    assert int(cells["gaps (%)"].text.split(" / ")[1]) > 50
    assert not cells["BD-rate (%)"].bold
    assert cells["by Akima (%)"].text
    text = write(found)
    assert "across a gap in one" in text
    assert "gaps (" in text
    assert "by Akima (" in text


def test_notes_of_a_page_do_not_lie_upon_each_other(tables: RunTables) -> None:
    """Each was drawn up to the table by two lines, and covered the one before."""
    page = web_page(tables.all, title="run")
    assert ".wide + .notes { margin-top: -2rem; }" in page
    assert page.count("margin-top: -") == 1


def test_curves_of_one_family_have_a_row_of_their_own(synthetic: Run, tables: RunTables) -> None:
    """The VAE and its siblings met by way of a third curve, over two ranges of quality."""
    systems = {
        name: {**card, "codec": "own" if name.startswith(("vae", "rvq")) else name}
        for name, card in synthetic.manifest["systems"].items()
    }
    run = Run("run", synthetic.rows, {**synthetic.manifest, "systems": systems})
    points = run_points(run)
    found = run_tables(points, run.manifest, run=run, reference="Opus")
    cells = line(found, "bd_rate_pairs_music", "ViSQOL audio", "VAE")
    assert (cells["against"].text if "against" in cells else "RVQ nested") == "RVQ nested"
    expected = bd_table(run, reference="RVQ nested", curves=["VAE"], metrics=["visqol_audio"])
    row = expected.query(
        "domain == 'music' and basis == 'headline' and variant == 'sample' "
        "and quantity == 'bd_rate' and method == 'pchip'"
    ).iloc[0]
    assert cells["BD-rate (%)"].text == f"{row['value']:+.1f}".replace("-", "−")
    # As configured, and not otherwise.
    asked = run_tables(
        points, run.manifest, run=run, reference="Opus", pairs=[("MP3", "RVQ nested")]
    )
    table = next(t for t in asked.all if t.name.startswith("bd_rate_pairs"))
    assert {cell.text for cell in table.head[1].cells} == {"MP3"}
    none = run_tables(points, run.manifest, run=run, reference="Opus", pairs=[])
    assert not any(t.name.startswith("bd_rate_pairs") for t in none.all)
    with pytest.raises(RdbenchError, match="did you mean 'MP3'"):
        run_tables(points, run.manifest, run=run, reference="Opus", pairs=[("MP4", "Opus")])


def test_a_curve_of_which_nothing_was_measured_ends_no_table(synthetic: Run) -> None:
    """A system that could not be built, of one codec with another."""
    systems = {
        name: {**card, "codec": name.split("_")[0]}
        for name, card in synthetic.manifest["systems"].items()
    }
    absent = {**next(iter(systems.values())), "curve": "absent", "label": "absent"}
    for codec in ("opus", "mp3"):
        card = {**absent, "codec": codec}
        manifest = {**synthetic.manifest, "systems": {**systems, "absent": card}}
        run = Run("run", synthetic.rows, manifest)
        found = run_tables(run_points(run), manifest, run=run, reference="Opus")
        assert found.bd.rows is not None
        for rows in found.bd.all:
            assert "absent" not in {*rows["curve"], *rows["reference"]}


def test_another_setting_of_the_anchor_has_a_table_of_its_own(
    synthetic: Run, tmp_path: Path
) -> None:
    systems = {
        name: {**card, "codec": "opus" if name == "mp3" else name.split("_")[0]}
        for name, card in synthetic.manifest["systems"].items()
    }
    run = Run("run", synthetic.rows, {**synthetic.manifest, "systems": systems})
    found = run_tables(run_points(run), run.manifest, run=run, reference="Opus")
    against = [t for t in found.all if t.title == "BD-rate against MP3"]
    table = next(t for t in against if t.name.endswith("_music"))
    curves = {cell.text for cell in table.head[1].cells}
    assert "RVQ nested" in curves
    assert not {"Opus", "MP3"} & curves  # they are compared above
    expected = bd_table(run, reference="MP3", curves=["RVQ nested"], metrics=["visqol_audio"])
    row = expected.query(
        "domain == 'music' and basis == 'headline' and variant == 'codes' "
        "and quantity == 'bd_rate' and method == 'pchip'"
    ).iloc[0]
    cells = line(found, table.name, "ViSQOL audio", "RVQ nested")
    assert cells["BD-rate (%)"].text == f"{row['value']:+.1f}".replace("-", "−")
    write_tables(tmp_path, found)
    written = pd.read_csv(tmp_path / "tables" / "bd_rate.csv")
    assert set(written["reference"]) == {"Opus", "MP3", "RVQ nested"}  # nested and single are RVQs
    which = ["domain", "key", "backend", "reference", "curve", "variant", "basis", "quantity"]
    assert not written.duplicated(which).any()

    # The rates of a discrete sibling of one adapter are of another kind: it is no setting.
    one = {name: card | {"codec": "own"} for name, card in systems.items()}
    found = run_tables(run_points(run), run.manifest | {"systems": one}, reference="RVQ nested",
                       run=Run("run", synthetic.rows, run.manifest | {"systems": one}))  # fmt: skip
    assert list(found.bd.settings) == ["Lyra v2"]


def test_a_system_of_one_rate_is_read_at_its_quality(tables: RunTables) -> None:
    cells = line(tables, "bd_rate_music", "ViSQOL audio", "RVQ 6 kbps only")
    assert cells["quality"].text.startswith("at ")
    assert cells["BD-rate (%)"].low
    assert cells["shares (%)"].text == "–"
