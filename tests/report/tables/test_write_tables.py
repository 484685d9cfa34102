"""Tables: golden files, and what a reader of hostile or partial runs must still get."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import make_run
import pandas as pd
import pytest
from hostile_run import hostile
from rich.cells import cell_len

from rdbench.analysis.aggregate import points, run_points
from rdbench.analysis.arrays import PointKey
from rdbench.analysis.runs import Run
from rdbench.report.cards import describe
from rdbench.report.numbers import cost_text
from rdbench.report.tables.glance import thinned
from rdbench.report.tables.markdown import table_page
from rdbench.report.tables.run_tables import RunTables, run_tables
from rdbench.report.tables.write import csv_table, summary_text, write_tables
from rdbench.report.text.columns import Column, filled
from rdbench.types import StoreError

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return points(make_run.make_frame())


def markdown_text(points: pd.DataFrame, manifest: dict) -> str:
    return table_page(run_tables(points, manifest))


def compare(text: str, name: str, *, regenerate: bool) -> None:
    path = GOLDEN / name
    if regenerate:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_markdown_is_as_it_was(measured: pd.DataFrame, regenerate: bool) -> None:
    text = markdown_text(measured, make_run.make_manifest())
    compare(text, "table.md", regenerate=regenerate)


def test_summary_is_as_it_was(measured: pd.DataFrame, regenerate: bool) -> None:
    text = summary_text(run_tables(measured, make_run.make_manifest()))
    compare(text, "summary.txt", regenerate=regenerate)
    assert max(map(cell_len, text.splitlines())) <= 100


def test_tables_line_up_and_name_the_kind_of_every_rate(measured: pd.DataFrame) -> None:
    lines = markdown_text(measured, make_run.make_manifest()).splitlines()
    for before, line in itertools.pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert cell_len(before) == cell_len(line)
    opus = next(line for line in lines if line.startswith("| Opus") and "payload" in line)
    assert " 6.29 payload " in opus
    mean = [line for line in lines if "| mean " in line and "kl" in line]
    assert mean
    assert all("kl°" in line for line in mean)


def test_every_mark_is_explained_and_no_other(measured: pd.DataFrame, tmp_path: Path) -> None:
    manifest = make_run.make_manifest()
    vae = measured[measured["system"] == "vae_6"]
    noisy = vae[vae["variant"].isin(["sample", "mean"])].copy()
    noisy["variant"] = noisy["variant"].replace("mean", "noise_2")
    text = " ".join(markdown_text(noisy, manifest).split())
    assert "kl°" in text
    assert "° not a rate point: the mean of the latent, or another amount of noise" in text
    assert "°" not in summary_text(run_tables(noisy, manifest)), "which shows headline points"
    write_tables(tmp_path, run_tables(noisy, manifest))
    tex = (tmp_path / "tables" / "points_speech.tex").read_text()
    assert "another amount of noise" in tex
    # A mean without any rate has no mark, and needs no explanation.
    manifest["systems"]["vae_6"]["headline"] = None
    bare = vae[(vae["variant"] == "mean") & (vae["kind"] != "rate")]
    assert "°" not in markdown_text(bare, manifest) + summary_text(run_tables(bare, manifest))


def test_numbers_that_rest_on_fewer_clips_say_so(measured: pd.DataFrame) -> None:
    text = markdown_text(measured, make_run.make_manifest())
    mp3 = [line for line in text.splitlines() if line.startswith("| MP3 ") and " 17/18 " in line]
    assert mp3
    assert "the encoder returned no packets" in text
    assert "no utterance was found" in text


def test_csv_is_tidy_and_loses_nothing(measured: pd.DataFrame, tmp_path: Path) -> None:
    written = write_tables(tmp_path, run_tables(measured, make_run.make_manifest()))
    names = [str(path.relative_to(tmp_path)) for path in written]
    assert names[:2] == ["table.md", "table.csv"]
    assert "tables/tables.html" in names
    assert {"tables/points_speech.tex", "tables/rates_music.tex", "tables/costs.tex"} <= set(names)
    table = pd.read_csv(tmp_path / "table.csv", dtype={"point": str})
    assert len(table) == len(measured)
    where = ["system", "point", "variant", "domain", "kind", "key", "backend"]
    assert not table.duplicated(where).any()
    row = table[
        (table["system"] == "vae_6") & (table["variant"] == "mean") & (table["key"] == "pesq_wb")
    ].iloc[0]
    assert (row["unit"], row["headline_kind"], row["better"]) == ("MOS-LQO", "kl", "higher")
    assert not row["rate_point"]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["headline_kbps"] == pytest.approx(6.36, rel=0.05)
    assert not list(tmp_path.glob(".*"))


def test_names_cannot_break_a_table() -> None:
    frame, manifest = hostile()
    text = markdown_text(points(frame), manifest)
    assert "\x1b" not in text
    assert "<script" not in text.replace("\\<script", "")
    assert r"a\|b \$x\$" in text
    assert "w" * 60 not in text
    table = csv_table(run_tables(points(frame), manifest))
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype={"point": str})
    assert set(again["system"]) == set(frame["system"])


def test_a_run_without_scores_or_manifest_still_has_tables(tmp_path: Path) -> None:
    frame = make_run.make_frame()
    frame = frame[(frame["system"] == "opus") & (frame["kind"] != "cost")].head(3).copy()
    frame[["value", "status", "reason"]] = [float("nan"), "failed", "it broke"]
    text = markdown_text(points(frame), {})
    assert "it broke" in text
    assert "0.00" not in text
    assert "– 0/" in text
    assert "–*" in summary_text(run_tables(points(frame), {}))
    empty = points(frame.iloc[:0])
    assert summary_text(run_tables(empty, {})) == "nothing was measured\n"
    write_tables(tmp_path / "new", run_tables(empty, {}))
    assert (tmp_path / "new" / "table.md").is_file()


def test_costs_without_a_value_are_explained() -> None:
    frame = make_run.make_frame()
    frame = frame[frame["system"] == "vae_6"].copy()
    memory = frame["key"] == "device_memory_peak"
    frame.loc[memory, "value"] = float("nan")
    frame.loc[memory, "status"] = "undefined"
    frame.loc[memory, "reason"] = "a CPU has no allocator peak"
    text = markdown_text(points(frame), make_run.make_manifest())
    assert "device memory peak: no value (a CPU has no allocator peak)." in text
    assert "2.79 M" in text


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path, measured: pd.DataFrame) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a file is in its way"):
        write_tables(tmp_path / "file", run_tables(measured, {}))


def test_quantities_of_one_fate_share_a_row(measured: pd.DataFrame) -> None:
    text = markdown_text(measured, make_run.make_manifest())
    fates = [line for line in text.splitlines() if "the encoder returned no packets" in line]
    assert len(fates) == 2  # one in each domain
    assert "PESQ-WB, STOI and 3 more" in fates[0]


def test_points_stand_in_the_order_of_the_spec_even_where_one_failed() -> None:
    frame = make_run.make_frame()
    frame = frame[(frame["system"] == "mp3") & (frame["domain"] == "music")].copy()
    first = frame["point"] == "16"
    frame.loc[first, "value"] = float("nan")
    frame.loc[first, "status"] = "failed"
    manifest = make_run.make_manifest()
    manifest["systems"]["mp3"]["points"] = ["16", "24", "32", "64"]
    lines = summary_text(run_tables(points(frame), manifest)).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("MP3")] == ["16", "24", "32", "64"]


def test_the_caption_tells_the_protocol_of_each_domain() -> None:
    manifest = make_run.make_manifest()
    manifest["protocol"]["sample_rate"] = {"speech": 16000, "music": 44100}
    manifest["protocol"]["excerpt_seconds"] = None
    text = markdown_text(points(make_run.make_frame()), manifest)
    assert "sample rate speech: 16 kHz / music: 44.1 kHz" in text
    assert "whole clips" in " ".join(text.split())
    assert "5e1f" not in text


def test_rows_without_a_value_are_left_out_of_a_block() -> None:
    block = [
        Column("system", ["a", "b", "c"]),
        Column("nominal", ["–", "2.0", ""]),
        Column("entropy", ["–", "1.8", "3.0"], right=True, bold=frozenset({2})),
    ]
    kept = filled(block, 1, nothing="–")
    assert [list(column.cells) for column in kept] == [["b", "c"], ["2.0", ""], ["1.8", "3.0"]]
    assert kept[2].bold == {1}


def test_costs_of_one_column_have_one_number_of_decimals() -> None:
    """And none is written with an exponent, which neither LaTeX nor a reader takes for a time."""
    assert [cost_text(x, "") for x in (0.0, 3.3e-6, 0.00296, 0.003, 0.0163)] == [
        "0", "< 0.0001", "0.0030", "0.0030", "0.0163",
    ]  # fmt: skip
    assert [cost_text(x, "") for x in (0.25, 12.345, 1234.0, 1.66e6)] == [
        "0.25", "12.3", "1,234", "1.66 M",
    ]  # fmt: skip


def test_points_of_one_label_and_name_say_their_system(measured: pd.DataFrame) -> None:
    """Three checkpoints of one's own VAE on one curve, each at the point `posterior`."""
    vaes = measured[measured["system"].isin(["vae_3", "vae_6"])].copy()
    vaes["point"] = "posterior"
    manifest = make_run.make_manifest()
    for name in ("vae_3", "vae_6"):
        manifest["systems"][name] |= {"label": "My VAE", "points": ["posterior"]}
    text = markdown_text(vaes, manifest)
    assert "| posterior (vae_3) |" in text
    assert "| posterior (vae_6) |" in text
    assert "(vae_" not in markdown_text(measured, make_run.make_manifest())


@pytest.fixture(scope="module")
def synthetic() -> Run:
    return Run("synthetic", make_run.make_frame(), make_run.make_manifest())


@pytest.fixture(scope="module")
def tables(synthetic: Run) -> RunTables:
    points = run_points(synthetic)
    return run_tables(points, synthetic.manifest, run=synthetic, reference="Opus")


def test_files_are_written_for_papers_pages_and_programs(synthetic: Run, tmp_path: Path) -> None:
    some = synthetic.rows[synthetic.rows["system"].isin(["opus", "mp3"])]
    run = Run("two", some, synthetic.manifest)
    write_tables(tmp_path, run_tables(run_points(run), run.manifest, run=run))
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
    points = run_points(run)
    write_tables(tmp_path, run_tables(points, run.manifest, run=run))
    table = pd.read_csv(tmp_path / "table.csv", dtype={"point": str})
    rvq = table[table["system"] == "rvq"]["point"]
    assert list(dict.fromkeys(rvq)) == ["1.5", "3", "4", "6", "8", "12"]
    assert list(dict.fromkeys(table["system"])) == ["lyra", "rvq"]
    costs = run_tables(points, run.manifest).costs
    assert costs is not None
    assert [c.text for c in costs.head[1].cells] == [
        "3.2",
        "6",
        "9.2",
        "1.5",
        "3",
        "4",
        "6",
        "8",
        "12",
    ]


def test_a_point_that_muted_clips_is_marked_and_says_its_own_rate(
    synthetic: Run, tmp_path: Path
) -> None:
    """A codec that mutes a clip had its rate counted over all clips and its score over the rest."""
    rows = synthetic.rows[synthetic.rows["domain"] == "music"].copy()
    rows = rows[rows["system"].isin(["opus", "mp3"])]
    hard = rows["clip"].isin(["m00", "m01"]) & (rows["system"] == "mp3") & (rows["point"] == "24")
    rows.loc[hard & (rows["kind"] == "rate"), "value"] *= 3
    muted = hard & (rows["key"] == "visqol_audio")
    rows.loc[muted, ["status", "value", "reason"]] = "undefined", float("nan"), "silent"
    run = Run("two", rows, synthetic.manifest)
    tables = run_tables(run_points(run), run.manifest, run=run)
    table = tables.domains[0].scores
    column = next(c for c in table.columns if c.title.startswith("ViSQOL"))
    marked = [cell for cell in column.cells if cell.mark == "§"]
    assert [cell.count for cell in marked] == ["5/8"]  # one more failed elsewhere
    write_tables(tmp_path, tables)
    kbps = pd.read_csv(tmp_path / "table.csv", dtype={"point": str}).query(
        "system == 'mp3' and point == '24' and kind == 'metric'"
    )
    own, others = kbps["key"] == "visqol_audio", kbps["key"] == "si_sdr"
    assert kbps[own]["headline_kbps"].iloc[0] < 24.5
    assert kbps[others]["headline_kbps"].iloc[0] > 30
    texts = (tmp_path / "table.md", tmp_path / "tables" / "points_music.tex",
             tmp_path / "tables" / "tables.html")  # fmt: skip
    for path in texts:
        text = " ".join(path.read_text(encoding="utf-8").split()).replace("{-}", "-")
        assert "undefined on clips where another point has a score" in text, path.name
        assert "MP3 24, ViSQOL audio: 23.60" in text, path.name


def test_a_rate_that_no_one_can_transmit_is_marked_and_streams_share_a_column() -> None:
    frame = make_run.make_frame()
    vae = frame[(frame["variant"] == "sample") & (frame["domain"] == "speech")]
    assert len(vae)
    rates = vae["kind"] == "rate"
    parts = [vae, vae.assign(variant="mean")]
    for variant in ("coded", "coded_rd"):
        stream = vae.assign(variant=variant)
        stream["key"] = stream["key"].mask(rates, "coded")
        stream["backend"] = stream["backend"].mask(rates, f"model of {variant}")
        parts.append(stream)
    measured = points(pd.concat(parts, ignore_index=True))
    text = markdown_text(measured, make_run.make_manifest())
    rates_part = text[text.index("### Rates") : text.index("### Scores")]
    assert rates_part.count("| system") == 1
    assert "by variant: coded: model of coded; coded_rd: model of coded_rd." in " ".join(
        rates_part.split()
    )
    lines = [line for line in rates_part.splitlines() if line.startswith("|") and "° " in line]
    marked = {line.split("|")[3].strip() for line in lines}
    assert marked == {"mean"}
    assert "° not a rate point" in rates_part


def test_the_version_of_a_backend_is_whole() -> None:
    version = "1, lattice mapping of visqol-python 3.8.0 (ai-edge-litert 2.3.0)"
    manifest = make_run.make_manifest()
    key = next(iter(manifest["metrics"]))
    manifest["metrics"][key] |= {"backend_version": version}
    assert version in describe(points(make_run.make_frame()), manifest).metrics[key].backend


def test_unaligned_si_sdr_has_a_short_name_in_the_terminal() -> None:
    frame = make_run.make_frame()
    key = frame.loc[frame["kind"] == "metric", "key"].iloc[0]
    frame["key"] = frame["key"].replace(key, "si_sdr_unaligned")
    manifest = make_run.make_manifest()
    manifest["metrics"] = {"si_sdr_unaligned": {"name": "SI-SDR, unaligned", "unit": "dB"}}
    assert "SI-SDR, unaligned" in summary_text(run_tables(points(frame), manifest))


def test_the_first_page_is_a_page(measured: pd.DataFrame) -> None:
    text = markdown_text(measured, make_run.make_manifest())
    first, _, rest = text.partition("\nBelow: ")
    assert len(first.splitlines()) < 90
    links = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", rest.splitlines()[0])
    headings = [line.lstrip("# ") for line in rest.splitlines() if line.startswith("#")]
    assert links
    assert all(name in headings for name, _ in links)
    assert ("speech, all numbers", "speech-all-numbers") in links


def test_long_curves_keep_their_ends_on_a_page() -> None:
    points = [
        PointKey(f"{curve}_{n}", curve, str(n), "codes") for curve in ("a", "b") for n in range(40)
    ]
    kept = thinned(points, 10)
    assert [point.point for point in kept if point.curve == "a"] == ["0", "10", "20", "29", "39"]
    assert thinned(points[:10], 10) == points[:10]
    assert len(thinned([PointKey(str(n), str(n), "1", "codes") for n in range(50)], 10)) == 50


def test_what_is_printed_fits_a_screen(measured: pd.DataFrame) -> None:
    lines = summary_text(run_tables(measured, make_run.make_manifest()), width=80).splitlines()
    assert len(lines) <= 40
    assert max(map(cell_len, lines)) <= 80
    assert any(line.startswith("not shown, and in table.md:") for line in lines)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_what_a_screen_has_no_room_for_is_counted(measured: pd.DataFrame, width: int) -> None:
    tables = run_tables(measured, make_run.make_manifest())
    lines = summary_text(tables, width=width).splitlines()
    scores = measured[(measured["kind"] == "metric") & (measured["key"] != "residual_delay")]
    hidden = set()
    for part in tables.domains:
        start = next(i for i, line in enumerate(lines) if line.startswith(f"{part.domain}: "))
        heading = lines[start + 2]
        for key in scores.loc[scores["domain"] == part.domain, "key"]:
            name = tables.card.metrics[key].name
            if name not in heading and key not in heading:
                hidden.add(key)
    said = " ".join(lines[next(i for i, one in enumerate(lines) if "not shown" in one) :])
    found = re.search(r"(\d+) metrics", said)
    assert int(found[1] if found else 0) == len(hidden)
