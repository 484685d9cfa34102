"""Features of small models of transformers' real classes, against direct calls of the package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rdbench.metrics.base import SetBackend
from rdbench.metrics.registry import backend
from rdbench.types import AudioBatch, SpecError

transformers = pytest.importorskip("transformers", reason="pip install 'rdbench[transformers]'")


def batch(rate: int, *lengths: int) -> AudioBatch:
    generator = torch.Generator().manual_seed(0)
    samples = 0.1 * torch.randn((len(lengths), 1, max(lengths)), generator=generator)
    return AudioBatch(samples, torch.tensor(lengths), rate)


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wavlm")
    torch.manual_seed(0)
    config = transformers.WavLMConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=[16] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        num_buckets=32,
    )  # fmt: skip
    transformers.WavLMModel(config).save_pretrained(folder)
    said = {"do_normalize": True, "feature_size": 1, "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clap")
    torch.manual_seed(0)
    audio = {
        "depths": [1, 1], "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 16,
        "hidden_size": 32, "num_hidden_layers": 2, "enable_fusion": False,
    }  # fmt: skip
    text = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16,
    }  # fmt: skip
    config = transformers.ClapConfig(audio_config=audio, text_config=text, projection_dim=16)
    transformers.ClapModel(config).save_pretrained(folder)
    transformers.ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    return folder


def features(metric: object, audio: AudioBatch) -> list[np.ndarray]:
    assert isinstance(metric, SetBackend)
    return metric.feature(audio)


def test_a_layer_of_a_speech_model_is_that_of_the_package(wavlm: Path) -> None:
    model = transformers.WavLMModel.from_pretrained(wavlm).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(wavlm)
    audio = batch(16_000, 16_000, 9_000)
    metric = backend("kernel_speech", options={"weights": str(wavlm), "layer": 1})
    for index, found in enumerate(features(metric, audio)):
        signal = audio.samples[index, 0, : audio.lengths[index]].numpy()
        given = extractor(signal, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            layers = model(**given, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(found, layers[1][0], atol=1e-4)


def test_a_layer_must_be_named_and_be_there(wavlm: Path) -> None:
    for more in ({}, {"layer": 3}):
        with pytest.raises(SpecError, match="name one from 0 to 2"):
            backend("frechet_speech", options={"weights": str(wavlm), **more})


def test_clap_hears_windows_of_ten_seconds_as_the_package_does(clap: Path) -> None:
    model = transformers.ClapModel.from_pretrained(clap).eval()
    extractor = transformers.ClapFeatureExtractor.from_pretrained(clap)
    audio = batch(48_000, 48_000 * 16, 48_000 * 3)
    metric = backend("frechet_clap", options={"weights": str(clap)})
    long, short = features(metric, audio)
    assert (len(long), len(short)) == (2, 1)
    parts = [audio.samples[0, 0, : 480_000], audio.samples[0, 0, 240_000:720_000],
             audio.samples[1, 0, : 48_000 * 3]]  # fmt: skip
    for found, part in zip([*long, *short], parts, strict=True):
        given = extractor(part.numpy(), sampling_rate=48_000, return_tensors="pt")
        with torch.no_grad():
            expected = model.get_audio_features(given["input_features"]).pooler_output[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_model_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(SpecError, match="_clap' needs the option weights: a folder"):
        backend("frechet_clap")
