"""Metrics of a set of clips in whole runs: a value for each step, and what it is made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from engine_runs import clip_features, everything, fake, make_clips, rows, run, write_manifest

from rdbench.resampling import RESAMPLES
from rdbench.store.features import read_features
from rdbench.store.reader import read_manifest
from rdbench.store.schema import Kind, Quantity
from rdbench.store.status import run_status
from rdbench.store.validate import validate_run

KEY = "frechet_logmel"
NAMES = ["a", "b", "c"]
SYSTEMS = ({"codec": "identity"}, fake("Quantizer"))
STEPS = 3


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("set"), NAMES, seconds=1.5)


def features(folder: Path, model: str = "") -> list[np.ndarray]:
    found = (
        read_features(folder, Quantity(Kind.FEATURE, KEY, model))
        if model
        else clip_features(folder, KEY)
    )
    return [one.array for one in found]


@pytest.fixture(scope="module")
def measured(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with `a` and `b` in one group."""
    folder = tmp_path_factory.mktemp("measured")
    shutil.copytree(clips, folder / "clips")
    corpus = write_manifest(folder / "clips", {"a": "one", "b": "one", "c": "two"})
    run(corpus, folder / "run", *SYSTEMS, metrics=(KEY, "snr"))
    return folder / "run"


def test_every_step_has_one_value_with_what_its_interval_is_made_of(measured: Path) -> None:
    found = rows(measured, key=KEY)
    assert set(found["clip"]) == {""}
    assert set(found["domain"]) == {"audio"}
    values = found.set_index(["system", "point"])["value"]
    assert len(values) == STEPS
    assert values["identity"].item() == 0
    assert values["Quantizer", "2bit"] > values["Quantizer", "8bit"] > 0
    assert len(features(measured)) == len(NAMES) * (STEPS + 1)
    assert {array.shape for array in features(measured)} == {(3, 32)}  # windows of half a second
    assert [array.shape for array in features(measured, "bootstrap")] == STEPS * [(RESAMPLES,)]
    assert [array.shape for array in features(measured, "jackknife")] == STEPS * [(2,)]
    assert read_manifest(measured)["metrics"][KEY]["scope"] == "set"
    assert run_status(measured).counts.missing == 0
    assert validate_run(measured).problems == ()


def test_a_device_measures_what_cores_do(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path / "cores", *SYSTEMS, metrics=(KEY,))
    run(clips, tmp_path / "device", *SYSTEMS, metrics=(KEY,), device="cpu:0")
    pd.testing.assert_frame_equal(
        rows(tmp_path / "cores"), rows(tmp_path / "device"), check_exact=False, rtol=1e-4, atol=1e-4
    )
    again = run(clips, tmp_path / "device", *SYSTEMS, metrics=(KEY,), device="cpu:0")
    assert again.written == 0


def test_a_clip_that_is_added_is_measured_alone_with_the_values_of_the_set(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    monkeypatch.setenv("FAKES_MARK", str(mark))
    folder, corpus = tmp_path / "run", tmp_path / "clips"
    shutil.copytree(clips, corpus)
    run(corpus, folder, fake("Tallied"), metrics=(KEY,))
    before = rows(folder, key=KEY)
    mark.unlink()
    make_clips(corpus, ["d"], seconds=1.5)
    summary = run(corpus, folder, fake("Tallied"), metrics=(KEY,))
    assert sorted(mark.read_text()) == ["e", "x", "x"]
    now = everything(folder)
    new = now[(now["clip"] == "d.wav") | ((now["clip"] == "") & (now["system"] != ""))]
    assert summary.written == len(new)
    after = rows(folder, key=KEY)
    assert (before["value"] != after["value"]).all()
    assert [array.shape for array in features(folder, "jackknife")] == 2 * [(4,)]


def test_a_clip_without_a_feature_fails_the_value_by_its_name(clips: Path, tmp_path: Path) -> None:
    folder, corpus = tmp_path / "run", tmp_path / "clips"
    shutil.copytree(clips, corpus)
    (corpus / "b.wav").write_bytes(b"RIFF")
    run(corpus, folder, {"codec": "identity"}, fake("Picky"), metrics=(KEY,))
    found = rows(folder, key=KEY)
    assert set(found["status"]) == {"failed"}
    assert found["reason"].str.contains("1 of 3 clips have no value (b.wav: ", regex=False).all()
    assert features(folder, "bootstrap") == []
    assert validate_run(folder).problems == ()

    shutil.copy(clips / "b.wav", corpus)  # mended, it alone is measured
    run(corpus, folder, {"codec": "identity"}, fake("Picky"), metrics=(KEY,))
    assert set(rows(folder)["status"]) == {"ok"}


def test_a_short_clip_is_left_out_and_too_few_clips_have_no_value(
    clips: Path, tmp_path: Path
) -> None:
    folder, corpus = tmp_path / "run", tmp_path / "clips"
    make_clips(corpus, ["short"], seconds=0.2)
    shutil.copy(clips / "a.wav", corpus)
    run(corpus, folder, {"codec": "identity"}, metrics=(KEY,))
    (value,) = rows(folder, key=KEY).itertuples()
    assert value.status == "undefined"
    assert "1 clips have features" in value.reason
    assert run(corpus, folder, {"codec": "identity"}, metrics=(KEY,)).written == 0
    assert validate_run(folder).problems == ()

    shutil.copy(clips / "b.wav", corpus)
    run(corpus, folder, {"codec": "identity"}, metrics=(KEY,))
    (value,) = rows(folder, key=KEY).itertuples()
    assert (value.status, value.value) == ("ok", 0)
    assert [array.shape for array in features(folder, "jackknife")] == [(2,)]
