"""Latents of a corpus: encoded once, standardised, drawn in crops that nothing else decides."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rdbench.audio.clip import Corpus
from rdbench.audio.corpus import folder_corpus
from rdbench.identity import file_sha256
from rdbench.models import checkpoint
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.bottleneck import kl_nats
from rdbench.models.config import AutoencoderConfig, GaussianConfig, RvqConfig, SpectralConfig
from rdbench.training.probe import latents as module
from rdbench.training.probe.latents import Latents, latents_of
from rdbench.types import AudioError, RdbenchError, WeightsError

RATE, HOP = 8000, 80
LENGTHS = (1.0, 0.3, 0.55)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("speech")
    generator = np.random.default_rng(0)
    for clip, seconds in enumerate(LENGTHS):
        noise = 0.1 * generator.standard_normal(round(seconds * RATE))
        soundfile.write(folder / f"{clip}.wav", noise, RATE)
    return folder_corpus(folder)


def config(bottleneck: GaussianConfig | RvqConfig) -> AutoencoderConfig:
    backbone = SpectralConfig(hop=HOP, width=8, encoder_layers=1, decoder_layers=1)
    return AutoencoderConfig(sample_rate=RATE, backbone=backbone, bottleneck=bottleneck)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Autoencoder(config(GaussianConfig(channels=3)))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    checkpoint.save(path, model, {})
    return path


def synthetic(mean: torch.Tensor, scale: torch.Tensor, frames: list[int]) -> Latents:
    told = torch.arange(len(mean)).float()[:, None].expand(-1, 20)
    return Latents(mean, scale, told, torch.tensor(frames), 10.0, RATE, "small", "00")


def test_latents_are_encoded_once_and_are_the_models_own(
    corpus: Corpus, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = latents_of(weights, "small", corpus, tmp_path / "latents")
    assert found.frames.tolist() == [100, 30, 55]
    assert found.codec_sha256 == file_sha256(weights)
    assert found.fitted_on == tuple(sorted(file_sha256(clip.path) for clip in corpus.clips))
    audio = torch.from_numpy(soundfile.read(corpus.clips[1].path, dtype="float32")[0])
    model, _ = checkpoint.load(weights)
    with torch.no_grad():
        mean, scale = model.posterior(audio[None, None])
    assert torch.equal(found.mean[100:130], mean[0].T.half())
    assert torch.equal(found.scale[100:130], scale[0].T.half())
    monkeypatch.setattr(module, "_encode", None)
    again = latents_of(weights, "small", corpus, tmp_path / "latents")
    assert again.sha256 == found.sha256
    assert torch.equal(again.condition, found.condition)


def test_other_weights_or_clips_have_a_cache_of_their_own(
    corpus: Corpus, weights: Path, tmp_path: Path
) -> None:
    latents_of(weights, "small", corpus, tmp_path)
    fewer = Corpus("fewer", corpus.clips[:2], "")
    assert latents_of(weights, "small", fewer, tmp_path).frames.tolist() == [100, 30]
    other = tmp_path / "other.safetensors"
    torch.manual_seed(1)
    checkpoint.save(other, Autoencoder(config(GaussianConfig(channels=3))), {})
    latents_of(other, "small", corpus, tmp_path)
    assert len(list(tmp_path.glob("small-*.safetensors"))) == 3
    assert not list(tmp_path.glob("*.partial"))


def test_a_bad_clip_is_left_out_and_a_bad_cache_named(
    corpus: Corpus, weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "clips"
    bad.mkdir()
    (bad / "a.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match="no clip to train on"):
        latents_of(weights, "small", folder_corpus(bad), tmp_path)
    (bad / "b.wav").write_bytes(corpus.clips[1].path.read_bytes())
    with caplog.at_level(logging.WARNING):
        found = latents_of(weights, "small", folder_corpus(bad), tmp_path)
    assert found.frames.tolist() == [30]
    assert found.fitted_on == (file_sha256(corpus.clips[1].path),)
    assert "left out of training: " in caplog.text
    (cache,) = tmp_path.glob("small-*.safetensors")
    cache.write_bytes(cache.read_bytes()[:100])
    with pytest.raises(RdbenchError, match="is damaged or no cache"):
        latents_of(weights, "small", folder_corpus(bad), tmp_path)


def test_a_model_without_posterior_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "rvq.safetensors"
    checkpoint.save(path, Autoencoder(config(RvqConfig(channels=4, codebooks=2))), {})
    with pytest.raises(WeightsError, match="rvq has no posterior"):
        latents_of(path, "rvq", corpus, tmp_path)


def test_statistics_are_those_of_the_definitions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = 3.0 + 2.0 * torch.randn(70_000, 2, generator=generator)  # more than one block
    scale = torch.rand(70_000, 2, generator=generator) + 0.1
    found = synthetic(mean, scale, [70_000]).statistics
    assert torch.allclose(found.latent_mean, mean.mean(0), atol=1e-4)
    variance = mean.var(0, correction=0) + scale.square().mean(0)
    assert torch.allclose(found.latent_scale, variance.sqrt(), atol=1e-4)
    assert torch.allclose(found.nats, kl_nats(mean, scale).mean(0), rtol=1e-4)
    assert float(found.condition_scale[0]) == pytest.approx(70_000 / math.sqrt(12), rel=1e-3)


def test_dead_channels_are_known_by_their_kl() -> None:
    mean = torch.zeros(100, 3)
    mean[:, 1] = torch.linspace(-2, 2, 100)
    mean[:, 2] = torch.linspace(-0.01, 0.01, 100)
    assert synthetic(mean, torch.ones(100, 3), [100]).live == (1,)
    with pytest.raises(WeightsError, match="all 1 channels have a KL below"):
        _ = synthetic(mean[:, 2:], torch.ones(100, 1), [100]).live


def test_crops_follow_from_seed_and_step_and_stay_within_their_clip() -> None:
    clip = torch.repeat_interleave(torch.arange(3), torch.tensor([30, 4, 66])).float()
    place = torch.cat([torch.arange(n) for n in (30, 4, 66)]).float()
    latents = synthetic(torch.stack([clip, place], 1), torch.ones(100, 2), [30, 4, 66])
    crops = latents.crops(10, seed=1, step=5, size=500)
    assert torch.equal(crops.mean, latents.crops(10, seed=1, step=5, size=500).mean)
    assert not torch.equal(crops.mean, latents.crops(10, seed=1, step=6, size=500).mean)
    assert not torch.equal(crops.mean, latents.crops(10, seed=1, step=5, size=500, rank=1).mean)
    owner = crops.mean[:, 0, 0]
    assert torch.equal(crops.valid.sum(1), torch.where(owner == 1, 4, 10))
    assert torch.equal(crops.mean[..., 0], owner[:, None] * crops.valid)
    steps = crops.mean[..., 1].diff(dim=1)
    assert bool((steps == 1)[crops.valid[:, 1:]].all())
    assert not bool(crops.scale[~crops.valid].any())
    shares = torch.bincount(owner.long()) / 500
    assert torch.allclose(shares, torch.tensor([0.3, 0.04, 0.66]), atol=0.06)
    assert {0.0, 20.0} <= set(crops.mean[owner == 0, 0, 1].tolist())
