"""A codec that comes late by a part of a sample is scored as the codec that does not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from delayed import pair
from engine_runs import RATE, clip_features, fake, rows, run

from rdbench.store.reader import read_manifest

METRICS = ("si_sdr", "snr", "si_sdr_unaligned", "snr_unaligned", "lsd", "frechet_logmel")
NAMES = ["a", "b", "c"]
HALF, FAR = 0.5, -240.37
SYSTEMS = (
    fake("Quantizer"),
    fake("Late", name="half", options={"delay": HALF}),
    fake("Late", name="far", options={"delay": FAR}),
)
RESIDUAL = {
    "protocol": {
        "sample_rate": RATE, "channels": "mono", "excerpt_seconds": None, "alignment": "residual",
    }
}  # fmt: skip


def values(folder: Path) -> pd.Series[float]:
    found = rows(folder, kind="metric", status="ok")
    return found.set_index(["key", "system", "point", "clip"])["value"].sort_index()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seconds of noise in half of the band, that rises and falls."""
    folder = tmp_path_factory.mktemp("late")
    for seed, name in enumerate(NAMES):
        noise = 2 * pair(RATE, 0.0, seed=seed, top=0.5)[0][0]
        noise *= 0.1 + torch.sin(2 * math.pi * 3 * torch.arange(RATE) / RATE) ** 2
        soundfile.write(folder / f"{name}.wav", noise.numpy(), RATE)
    return folder


@pytest.fixture(scope="module")
def alone(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    run(clips, folder, *SYSTEMS, metrics=METRICS)
    return folder


@pytest.fixture(scope="module")
def everywhere(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("everywhere")
    run(clips, folder, *SYSTEMS, metrics=METRICS, spec=RESIDUAL)
    return folder


def test_rows_tell_the_part_of_a_sample(alone: Path) -> None:
    delays = values(alone)["residual_delay"] * RATE / 1000
    assert (delays["Quantizer", "8bit"] == 0).all()
    assert (delays["Quantizer", "2bit"].abs() < 0.011).all()  # noise of its own fits as well
    assert delays["half", "8bit"].to_numpy() == pytest.approx(HALF, abs=0.011)
    assert delays["far", "8bit"].to_numpy() == pytest.approx(FAR, abs=0.011)


@pytest.mark.parametrize("key", ["si_sdr", "snr"])
@pytest.mark.parametrize("system", ["half", "far"])
def test_a_delay_costs_an_aligned_metric_nothing(alone: Path, key: str, system: str) -> None:
    found = values(alone)
    assert found[key, system].to_numpy() == pytest.approx(
        found[key, "Quantizer"].to_numpy(), abs=0.2 if system == "far" else 0.05
    )
    unaligned = found[f"{key}_unaligned", system, "8bit"]
    assert (unaligned < found[key, system, "8bit"] - 10).all()


@pytest.mark.parametrize("key", ["si_sdr", "snr"])
def test_without_a_delay_alignment_changes_nothing(alone: Path, key: str) -> None:
    found = values(alone)
    still = found[key, "Quantizer", "8bit"]
    assert still.equals(found[f"{key}_unaligned", "Quantizer", "8bit"])


def test_the_card_says_which_is_aligned(alone: Path) -> None:
    cards = read_manifest(alone)["metrics"]
    assert cards["si_sdr"]["needs_alignment"]
    assert "residual delay is removed" in cards["si_sdr"]["definition"]
    assert not cards["si_sdr_unaligned"]["needs_alignment"]
    assert "with its residual delay" in cards["si_sdr_unaligned"]["definition"]
    assert (cards["si_sdr"]["version"], cards["si_sdr_unaligned"]["version"]) == (2, 1)


def test_in_a_batch_a_clip_scores_what_it_scores_alone(
    clips: Path, alone: Path, tmp_path: Path
) -> None:
    run(clips, tmp_path, *SYSTEMS, metrics=METRICS, device="cpu:0")
    batch = values(tmp_path)
    pd.testing.assert_series_equal(batch, values(alone), rtol=1e-5)
    assert batch["residual_delay"].equals(values(alone)["residual_delay"])


def test_a_protocol_may_remove_the_delay_from_every_metric(alone: Path, everywhere: Path) -> None:
    own = values(alone)["lsd", "Quantizer", "8bit"]
    assert (values(alone)["lsd", "far", "8bit"] > own + 0.3).all()
    assert values(everywhere)["lsd", "far", "8bit"].to_numpy() == pytest.approx(own, abs=0.02)


def test_what_sets_are_compared_by_is_aligned_with_the_rest(alone: Path, everywhere: Path) -> None:
    """Levels in dB of the second half second, of which the move leaves nothing open."""

    def errors(folder: Path) -> list[float]:
        features = clip_features(folder, "frechet_logmel")
        found = {(one.system, one.point, one.clip): one.array[1, :16] for one in features}
        return [
            float(np.abs(found["far", "8bit", clip] - found["Quantizer", "8bit", clip]).mean())
            for clip in {one.clip for one in features}
        ]

    assert min(errors(alone)) > 1
    assert max(errors(everywhere)) < 0.02


@pytest.mark.parametrize(
    "key", ["residual_delay", "si_sdr", "snr", "si_sdr_unaligned", "snr_unaligned"]
)
def test_what_says_how_it_is_aligned_is_the_same_under_every_protocol(
    alone: Path, everywhere: Path, key: str
) -> None:
    pd.testing.assert_series_equal(values(alone)[key], values(everywhere)[key])
