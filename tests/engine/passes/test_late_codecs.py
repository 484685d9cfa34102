"""A codec that comes late by a part of a sample is scored as the codec that does not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from engine_runs import RATE, fake, make_clips, rows, run

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
    return make_clips(tmp_path_factory.mktemp("late"), NAMES)


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
    assert (delays["Quantizer"] == 0).all()
    assert delays["half", "8bit"].to_numpy() == pytest.approx(HALF, abs=0.011)
    assert delays["far", "8bit"].to_numpy() == pytest.approx(FAR, abs=0.011)


@pytest.mark.parametrize("key", ["si_sdr", "snr"])
@pytest.mark.parametrize("system", ["half", "far"])
def test_a_delay_costs_an_aligned_metric_nothing(alone: Path, key: str, system: str) -> None:
    found = values(alone)
    assert found[key, system].to_numpy() == pytest.approx(
        found[key, "Quantizer"].to_numpy(), abs=0.3 if system == "far" else 0.1
    )
    unaligned = found[f"{key}_unaligned", system, "8bit"]
    assert (unaligned < found[key, system, "8bit"] - 10).all()


@pytest.mark.parametrize("key", ["si_sdr", "snr"])
def test_without_a_delay_alignment_changes_nothing(alone: Path, key: str) -> None:
    found = values(alone)
    assert found[key, "Quantizer"].equals(found[f"{key}_unaligned", "Quantizer"])


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
    declared, residual = values(alone), values(everywhere)
    for key in ("lsd", "frechet_logmel"):
        for point in ("2bit", "8bit"):
            own = declared[key, "Quantizer", point]
            assert residual[key, "Quantizer", point].equals(own)
            off = (declared[key, "far", point] - own).abs().mean()
            assert (residual[key, "far", point] - own).abs().mean() < off / 3


@pytest.mark.parametrize(
    "key", ["residual_delay", "si_sdr", "snr", "si_sdr_unaligned", "snr_unaligned"]
)
def test_what_says_how_it_is_aligned_is_the_same_under_every_protocol(
    alone: Path, everywhere: Path, key: str
) -> None:
    pd.testing.assert_series_equal(values(alone)[key], values(everywhere)[key])
