"""Names are no part of what was measured: renaming re-labels rows and measures nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from engine_runs import (
    PLACE,
    clip_features,
    everything,
    fake,
    make_clips,
    rows,
    run,
    write_manifest,
)

from rdbench.store.reader import read_manifest
from rdbench.store.traces import read_traces
from rdbench.store.validate import validate_run

METRICS = ("snr", "frechet_logmel")
TRACED = {"traces": True}
REPLICATES = 2
"""Arrays beside the value of a set, which are drawn by groups."""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_clips(tmp_path / "corpus", ["a", "b", "c"])


def values(folder: Path) -> pd.DataFrame:
    """What was measured, by unit key, without names."""
    return everything(folder)[["kind", "key", "backend", "value", "status", "seconds"]]


def grouped(corpus: Path, groups: Mapping[str, str], folder: Path) -> int:
    manifest = write_manifest(corpus, groups)
    return run(manifest, folder, fake("Quantizer"), metrics=METRICS, spec=TRACED).written


def test_a_renamed_system_curve_and_label_measure_nothing(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(corpus, folder, fake("Quantizer", name="old"), metrics=METRICS, spec=TRACED)
    before, features = values(folder), clip_features(folder, METRICS[1])
    renamed = fake("Quantizer", name="new", curve="bent", label="A better name")
    assert run(corpus, folder, renamed, metrics=METRICS, spec=TRACED).written == 0
    pd.testing.assert_frame_equal(before, values(folder), check_exact=True)
    found = everything(folder)
    assert set(found["system"]) == {"new", ""}
    assert set(found.loc[found["system"] == "new", "curve"]) == {"bent"}
    assert read_manifest(folder)["systems"]["new"]["label"] == "A better name"
    assert set(read_traces(folder)["system"]) == {"new"}
    after = clip_features(folder, METRICS[1])
    assert {one.system for one in after} == {"new", ""}
    arrays = {one.unit_key: one.array for one in after}
    assert all(np.array_equal(one.array, arrays[one.unit_key]) for one in features)
    assert validate_run(folder).problems == ()


def test_systems_that_exchange_their_names_exchange_their_rows(
    corpus: Path, tmp_path: Path
) -> None:
    fine, coarse = fake("Quantizer"), fake("Quantizer", name="coarse", options={"bits": 3})
    run(corpus, tmp_path / "run", fine, coarse)
    before = everything(tmp_path / "run")["system"]
    swapped = (fine | {"name": "coarse"}, coarse | {"name": "Quantizer"})
    assert run(corpus, tmp_path / "run", *swapped).written == 0
    assert (before != everything(tmp_path / "run")["system"]).all()


def test_a_group_that_is_called_otherwise_measures_nothing(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    grouped(corpus, {"a": "one", "b": "one", "c": "two"}, folder)
    before = values(folder)
    assert grouped(corpus, {"a": "p", "b": "p", "c": "q"}, folder) == 0
    pd.testing.assert_frame_equal(before, values(folder), check_exact=True)
    assert rows(folder, key="snr").groupby("clip")["group"].first().to_list() == ["p", "p", "q"]


def test_groups_of_other_clips_cost_what_is_drawn_by_groups_alone(
    corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    grouped(corpus, {"a": "one", "b": "one", "c": "two"}, folder)
    assert grouped(corpus, {"a": "one", "b": "two", "c": "two"}, folder) == REPLICATES * 2
    snr = rows(folder, key="snr")
    assert snr.groupby("clip")["group"].first().to_list() == ["one", "two", "two"]


def test_a_clip_that_is_called_otherwise_measures_nothing(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path / "run", fake("Quantizer"))
    before = values(tmp_path / "run")
    (corpus / "c.wav").rename(corpus / "d.wav")
    assert run(corpus, tmp_path / "run", fake("Quantizer")).written == 0
    pd.testing.assert_frame_equal(before, values(tmp_path / "run"))
    assert set(rows(tmp_path / "run")["clip"]) == {"a.wav", "b.wav", "d.wav"}


def test_what_is_equal_under_two_names_has_rows_under_both(corpus: Path, tmp_path: Path) -> None:
    """Two systems that code alike, and two clips of one content."""
    folder = tmp_path / "run"
    shutil.copy(corpus / "a.wav", corpus / "e.wav")
    twins = (fake("Quantizer", name="one"), fake("Quantizer", name="two"))
    run(corpus, folder, *twins)
    found = rows(folder)
    assert found.groupby(["system", "clip"]).size().nunique() == 1
    assert len(found.groupby(["system", "clip"])) == 2 * 4
    values = ["point", "key", "value"]
    first, second = (found[found["clip"] == name][values] for name in ("a.wav", "e.wav"))
    pd.testing.assert_frame_equal(first.reset_index(drop=True), second.reset_index(drop=True))
    assert run(corpus, folder, *twins).written == 0

    assert run(corpus, folder, twins[1]).written == 0  # what is left is the first of its kind
    kept = found[found["system"] == "two"].reset_index(drop=True)
    columns = [*PLACE, "value"]
    pd.testing.assert_frame_equal(kept[columns], rows(folder)[columns])
