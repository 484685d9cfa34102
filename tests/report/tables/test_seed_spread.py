"""The spread over seeds in the tables of a run, and nowhere else in them."""

from __future__ import annotations

import io
from pathlib import Path

import make_run
import pandas as pd
import pytest

from rdbench.report.config import ReportConfig, SystemLook
from rdbench.report.numbers import spread_text
from rdbench.report.write import write_all
from rdbench.store.manifest import read_manifest
from rdbench.store.writer import RunWriter

SEEDS = 3


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `make_run`, of whose systems two VAEs have samples with further seeds."""
    folder = tmp_path_factory.mktemp("seeded") / "run"
    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "vae_6", "vae_12"]) & (frame["domain"] == "speech")]
    scores = frame[(frame["variant"] == "sample") & (frame["kind"] == "metric")]
    further = [
        scores.assign(variant=f"sample@{k}", value=scores["value"] + 0.01 * (-1) ** k)
        for k in range(1, SEEDS)
    ]
    make_run.write_run(folder, pd.concat([frame, *further], ignore_index=True))
    cards = {
        f"sample@{k}": {"source": "sample", "transmitted": True, "of": "sample"}
        for k in range(1, SEEDS)
    }
    with RunWriter(folder) as writer:
        writer.write_manifest({**read_manifest(folder), "variants": cards})
    return folder


def test_tables_have_the_spread_and_every_point_once(seeded: Path, tmp_path: Path) -> None:
    text, _ = write_all(seeded, out=tmp_path)
    page = (tmp_path / "table.md").read_text(encoding="utf-8")
    section = page.partition("### Spread over seeds")[2].partition("###")[0]
    assert "Standard deviation over seeds of the mean over clips" in " ".join(section.split())
    lines = [line for line in section.splitlines() if line.startswith("| VAE ")]
    assert {line.split("|")[1].strip() for line in lines} == {"VAE 6", "VAE 12"}
    assert all(line.endswith(" 0.010 |") for line in lines)
    assert "sample@" not in page + text
    found = pd.read_csv(io.StringIO((tmp_path / "tables" / "seeds.csv").read_text()))
    assert set(found["n_seeds"]) == {SEEDS}
    pesq = found[found["key"] == "pesq_wb"]
    assert pesq["deviation"].tolist() == pytest.approx([0.01, 0.01])
    points = pd.read_csv(tmp_path / "table.csv")
    assert not points["variant"].str.contains("@").any()
    assert (tmp_path / "tables" / "seeds_speech.tex").is_file()


def test_what_a_report_hides_has_no_spread(seeded: Path, tmp_path: Path) -> None:
    config = ReportConfig(systems={"vae_6": SystemLook(hide=True)}, metrics=("stoi",))
    write_all(seeded, out=tmp_path, config=config)
    found = pd.read_csv(tmp_path / "tables" / "seeds.csv")
    assert set(found["system"]) == {"vae_12"}
    assert set(found["key"]) == {"stoi", "residual_delay"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (0.00045, "0.00045"), (1.26, "1.3"), (23.4, "23"), (0.0099999, "0.010")],
)
def test_a_deviation_has_two_digits(value: float, text: str) -> None:
    assert spread_text(value) == text
