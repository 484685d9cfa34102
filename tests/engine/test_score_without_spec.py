"""`rdbench.score`: a run's scores, of arrays; what cannot be scored has a row with a reason."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from engine_runs import RATE, make_clips, run

import rdbench
from rdbench.store.reader import read_rows
from rdbench.types import SpecError

NAMES = ("one", "two")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def by_key(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(["clip", "key"])


def test_scores_are_those_of_a_run(tmp_path: Path) -> None:
    """Late by 3.5 ms, at another rate and longer: as the codec `files` takes it."""
    clips = make_clips(tmp_path / "clips", NAMES)
    (tmp_path / "made").mkdir()
    read = {name: soundfile.read(clips / f"{name}.wav", dtype="float32")[0] for name in NAMES}
    late = {name: np.concatenate([np.zeros(28, np.float32), 0.9 * x]) for name, x in read.items()}
    for name, samples in late.items():
        soundfile.write(tmp_path / "made" / f"{name}.wav", samples, RATE, subtype="FLOAT")
    keys = ("si_sdr", "snr_unaligned", "lsd", "true_peak", "loudness_difference")
    system = {"codec": "files", "options": {"folders": str(tmp_path / "made")}}
    run(clips, tmp_path / "run", system, metrics=keys)
    rows = read_rows(tmp_path / "run")
    expected = rows[rows["kind"] == "metric"].set_index(["clip", "key"])["value"]

    table = rdbench.score(
        reference=list(read.values()),
        reconstruction=list(late.values()),
        sample_rate=RATE,
        metrics=keys,
    )
    named = table.assign(clip=[f"{NAMES[int(number)]}.wav" for number in table["clip"]])
    found = by_key(named)["value"]
    assert sorted(found.index) == sorted(expected.index)
    assert found[("one.wav", "residual_delay")] == pytest.approx(3.5, abs=0.02)
    for place, value in expected.items():
        assert found[place] == pytest.approx(value, abs=1e-6), place


@pytest.mark.parametrize("form", ["time", "channels", "batch", "list", "tensors"])
def test_audio_may_come_in_any_form(form: str) -> None:
    x = noise(2, 4000)
    y = x + noise(2, 4000, seed=1)
    given, clips = {
        "time": ((x[0], y[0]), 1),
        "channels": ((x, y), 1),
        "batch": ((np.stack([x, y]), np.stack([y, x])), 2),
        "list": (([x, x[0, :3000]], [y, y[0, :3000]]), 2),
        "tensors": ((torch.from_numpy(x).double(), torch.from_numpy(y).half()), 1),
    }[form]
    reference, reconstruction = given
    table = rdbench.score(
        reference=reference, reconstruction=reconstruction, sample_rate=8000, metrics=["snr"]
    )
    assert list(table["clip"].unique()) == [str(number) for number in range(clips)]
    snr = table[table["key"] == "snr"]
    assert list(snr["status"]) == ["ok"] * clips
    assert snr["value"].iloc[0] == pytest.approx(0, abs=0.5)


def test_a_clip_that_cannot_be_scored_costs_itself_alone() -> None:
    x = noise(4, 8000)
    broken = x[1].copy()
    broken[5] = math.nan
    table = rdbench.score(
        reference=[x[0], x[1], x[2], x[3]],
        reconstruction=[x[0], broken, x[2][:7000], x[2:4]],
        sample_rate=8000,
        metrics=["snr", "stereo_level"],
    )
    found = by_key(table)
    assert found.loc[("0", "snr"), "value"] == 100
    assert found.loc[("0", "stereo_level"), "status"] == "undefined"
    reasons = {clip: found.loc[(clip, "snr"), "reason"] for clip in "123"}
    assert reasons == {
        "1": "the reconstruction holds 1 NaN or infinite sample",
        "2": "the reconstruction lasts 0.8750 s and the reference 1.0000 s, more than 0.05 s "
        "apart; cut or fill it",
        "3": "the reconstruction has 2 channels and the reference 1; write both alike",
    }
    assert set(table[table["clip"] != "0"]["status"]) == {"failed"}


def test_without_a_reference_there_is_what_needs_none() -> None:
    table = rdbench.score(reconstruction=noise(8000), sample_rate=8000)
    assert list(table["key"]) == ["true_peak", "bandwidth"]
    assert set(table["status"]) == {"ok"}
    asked = rdbench.score(
        reconstruction=noise(8000), sample_rate=8000, metrics=["snr", "true_peak"]
    )
    assert list(asked["status"]) == ["undefined", "ok"]
    assert asked["reason"].iloc[0] == "it needs a reference, and there is none"


def test_a_stated_domain_routes_metrics_and_an_unstated_one_does_not() -> None:
    x = noise(16000)
    asked = {"reference": x, "reconstruction": x, "sample_rate": 16000, "metrics": ["estoi"]}
    assert rdbench.score(**asked)["status"].iloc[0] == "ok"
    music = rdbench.score(**asked, domain="music")
    assert music["status"].iloc[0] == "undefined"
    assert music["reason"].iloc[0] == "it is for speech, and not for music"


def test_alignment_may_be_asked_for_of_every_metric() -> None:
    x = noise(8000)
    late = np.concatenate([np.zeros(40, np.float32), x])[:8000]
    asked = {"reference": x, "reconstruction": late, "sample_rate": 8000, "metrics": ["lsd"]}
    as_it_is, moved = (
        rdbench.score(**asked, alignment=how)["value"].iloc[0] for how in ("metrics", "residual")
    )
    assert moved < as_it_is / 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metrics": ["snrr"]}, "did you mean 'snr'"),
        ({"metrics": "snr"}, "give a list of keys"),
        ({"metrics": []}, "no metric is asked for"),
        ({"metrics": ["snr", {"key": "snr", "backend": "gpu"}]}, "no backend 'gpu'"),
        ({"metrics": [{"kye": "snr"}]}, "is not a key, nor key and options"),
        ({"metrics": ["frechet_logmel"]}, "is of a set of clips and needs a run"),
        ({"reconstruction": noise(9000, 2)}, "9000 channels of 2 samples"),
        ({"reconstruction": np.zeros(8000, np.int16)}, "int16; give floats"),
        ({"reconstruction": 32768 * noise(8000)}, "full scale is ±1; divide .* by 32768"),
        ({"reference": 32768 * noise(8000)}, r"reference has samples of up to \d+"),
        ({"reconstruction": [noise(8000)] * 2}, "2 reconstructions and 1 references"),
        ({"reconstruction": "a.wav"}, "is a path; give arrays, or use `rdbench score`"),
        ({"reconstruction": [None]}, "not an array of numbers"),
        ({"reconstruction": np.zeros((0, 1, 100))}, "holds no clip"),
        *(({"sample_rate": r}, "give whole hertz, from 1000") for r in (0, 20, math.nan, "8k")),
        ({"device": "foo"}, "there is no device 'foo'"),
        ({"alignment": "both"}, "must be 'metrics' or 'residual'"),
    ],
)
def test_mistakes_are_one_sentence(change: dict, sentence: str) -> None:
    x = noise(8000)
    asked = {"reference": x, "reconstruction": x, "sample_rate": 8000, "metrics": ["snr"]}
    with pytest.raises(SpecError, match=sentence):
        rdbench.score(**{**asked, **change})


def test_nothing_is_loaded_for_metrics_that_are_not_asked_for() -> None:
    program = """
import sys
import numpy as np
import rdbench
assert "torch" not in sys.modules
x = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
rdbench.score(reference=x, reconstruction=x, sample_rate=8000, metrics=["snr"])
print(sorted({"pesq", "pystoi", "visqol", "pyworld", "pyloudnorm", "av", "dac"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
