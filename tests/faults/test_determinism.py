"""The same spec, weights and seed give the same rows, bit for bit, wherever and however run."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import measurements
from small_benchmark import Children, Trial, make_clips, quantizer

from rdbench.models.autoencoder import Autoencoder
from rdbench.models.checkpoint import save
from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectralConfig
from rdbench.store.reader import read_manifest


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One spec run four times: another folder, other workers, other batches."""
    import torch

    folder = tmp_path_factory.mktemp("deterministic")
    clips = make_clips(folder / "clips", count=5, seconds=0.7)
    torch.manual_seed(0)
    config = AutoencoderConfig(
        backbone=SpectralConfig(hop=80, width=16, encoder_layers=2, decoder_layers=2),
        bottleneck=GaussianConfig(channels=8),
    )
    weights = folder / "weights.safetensors"
    save(weights, Autoencoder(config), {"recipe": "test"})
    systems = (
        {"codec": "identity"},
        {"codec": "opus", "points": [12]},
        {"codec": "vae", "options": {"weights": str(weights)}, "variants": ["sample", "mean"]},
        quantizer("InPool"),
    )
    children = Children()
    made = {}
    for name, workers, batch_seconds in (
        ("first", 1, 60.0), ("second", 1, 60.0), ("workers", 3, 60.0), ("batches", 2, 1.0),
    ):  # fmt: skip
        trial = Trial(
            clips, folder / name / "run", systems, metrics=("si_sdr", "stft_dac_16k", "stoi"),
            workers=workers, batch_seconds=batch_seconds, flush_rows=2000,
        )  # fmt: skip
        trial.folder.parent.mkdir()
        end = children.finish(trial, folder / "reports")
        assert end["end"] == "finished", end
        assert end["failed"] == 0
        made[name] = trial.folder
    return made


@pytest.mark.parametrize("other", ["second", "workers", "batches"])
def test_part_files_are_equal_byte_for_byte(runs: dict[str, Path], other: str) -> None:
    first = measurements(runs["first"])
    assert len(first) == 1
    assert list(measurements(runs[other]).values()) == list(first.values())


def test_the_manifest_says_what_may_differ(runs: dict[str, Path]) -> None:
    said = read_manifest(runs["first"])["execution"]["determinism"]
    assert "bit for bit" in said
    assert "costs differ" in said


def test_on_a_gpu_the_manifest_promises_less() -> None:
    from rdbench.engine.describe import _determinism

    assert _determinism("cuda:0").startswith("not bit for bit")
