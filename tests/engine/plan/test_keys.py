"""A unit is missing again when code that could change its value has changed, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from engine_runs import everything, fake, make_clips, run

from rdbench.engine.passes.costs import UNITS
from rdbench.engine.run import RunSummary

SYSTEMS = ({"codec": "identity"}, {"codec": "opus", "points": [12]}, fake("Quantizer"))
RATES = {"rate/nominal", "rate/payload", "rate/container"}
USAGE = {"usage/codebook_perplexity", "usage/codebook_use"}
CHANGES = {
    "rdbench.rate.VERSION": {*RATES, "rate/entropy", "trace/frame"},
    "rdbench.rate.trace.VERSION": {"trace/frame"},
    "rdbench.rate.entropy.VERSION": {"rate/entropy"},
    "rdbench.rate.usage.VERSION": USAGE,
    "rdbench.audio.align.VERSION": {"metric/residual_delay", "metric/snr"},
    "rdbench.engine.passes.costs.VERSION": {f"cost/{key}" for key in UNITS},
}


def measured(clips: Path, folder: Path) -> RunSummary:
    return run(
        clips,
        folder,
        *SYSTEMS,
        metrics=("snr", "frechet_logmel"),
        spec={"traces": True, "entropy": {"enabled": True}, "costs": {"clips": 1, "repeats": 1}},
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run beside its clips."""
    folder = tmp_path_factory.mktemp("keyed")
    measured(make_clips(folder / "clips", ["a", "b"]), folder / "run")
    return folder


def names(table: pd.DataFrame) -> set[str]:
    return set(table["kind"] + "/" + table["key"])


@pytest.mark.parametrize("version", CHANGES)
def test_a_new_version_of_some_code_measures_what_it_makes_and_nothing_else(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    shutil.copytree(first / "run", tmp_path / "run")
    before = everything(tmp_path / "run")
    monkeypatch.setattr(version, 99)
    summary = measured(first / "clips", tmp_path / "run")
    after = everything(tmp_path / "run")
    new = after[~after.index.isin(before.index)]
    assert names(new) == CHANGES[version]
    assert summary.written == len(new)
    kept = before[before.index.isin(after.index)]
    pd.testing.assert_frame_equal(kept, after.loc[kept.index])
    assert not names(kept) & CHANGES[version]
    assert len(after) == len(before)


def test_without_a_change_nothing_is_measured(first: Path) -> None:
    assert measured(first / "clips", first / "run").written == 0
