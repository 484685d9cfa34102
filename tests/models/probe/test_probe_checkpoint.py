"""A probe's file: what was saved comes back, of one codec and apart from its clips."""

import os
from pathlib import Path

import pytest
import torch

from rdbench.identity import file_sha256
from rdbench.models import checkpoint as autoencoders
from rdbench.models.probe import checkpoint
from rdbench.models.probe.checkpoint import ProbeError
from rdbench.models.probe.config import ProbeConfig, ProbeShape
from rdbench.models.probe.transformer import Probe
from rdbench.types import WeightsError

ABOUT = {"codec": "vae_6k", "codec_sha256": "ab" * 32, "fitted_on": ["11", "22"], "steps": 7}


@pytest.fixture
def model() -> Probe:
    torch.manual_seed(0)
    shape = ProbeShape(width=16, layers=1, heads=2)
    return Probe(ProbeConfig(shape=shape, channels=3, live=(0, 2), frame_rate=10, sample_rate=8000))


def test_weights_and_what_they_are_of_come_back(model: Probe, tmp_path: Path) -> None:
    path = tmp_path / "probe.safetensors"
    checkpoint.save(path, model, ABOUT)
    found = checkpoint.load(path)
    assert found.model.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    assert (found.codec, found.codec_sha256) == ("vae_6k", "ab" * 32)
    assert found.sha256 == file_sha256(path)
    assert found.provenance["steps"] == 7


def test_another_codec_and_clips_of_its_training_are_refused(model: Probe, tmp_path: Path) -> None:
    path = tmp_path / "probe.safetensors"
    checkpoint.save(path, model, ABOUT)
    found = checkpoint.load(path)
    found.check_codec("vae_6k", "ab" * 32)
    with pytest.raises(ProbeError, match=r"trained on latents of vae_6k \(weights abababab\)"):
        found.check_codec("vae_3k", "cd" * 32)
    found.check_apart([("a", "33")])
    with pytest.raises(ProbeError, match=r"clip 'b' is one of the 2 clips .* \(1 such clips\)"):
        found.check_apart([("a", "33"), ("b", "22")])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="cannot be read"):
        checkpoint.load(tmp_path / "pipe")


def test_one_kind_of_checkpoint_is_not_taken_for_another(model: Probe, tmp_path: Path) -> None:
    path = tmp_path / "probe.safetensors"
    checkpoint.save(path, model, ABOUT)
    with pytest.raises(WeightsError, match="no usable configuration"):
        autoencoders.load(path)
    checkpoint.save(path, model, {})
    with pytest.raises(WeightsError, match="does not say of which checkpoint"):
        checkpoint.load(path)
