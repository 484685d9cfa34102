"""The SNAC adapter, on seeded weights in the package's own layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from rdbench.codecs.neural.snac import Snac
from rdbench.codecs.neural.trained import probe
from rdbench.codecs.seeds import noise_seed
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.rate import rates
from rdbench.types import CODES, CodecError, RateKind, Tokens, WeightsError

snac = pytest.importorskip("snac", reason="pip install 'rdbench[snac]'")

# Rates, strides and windows as the authors publish them; layers are narrower.
NARROW = {"encoder_dim": 8, "decoder_dim": 128, "codebook_size": 4096, "codebook_dim": 8}
MODELS: dict[str, dict[str, Any]] = {
    "24khz": {
        "sampling_rate": 24_000,
        "encoder_rates": [2, 4, 8, 8],
        "decoder_rates": [8, 8, 4, 2],
        "attn_window_size": None,
        "vq_strides": [4, 2, 1],
    },
    "32khz": {
        "sampling_rate": 32_000,
        "encoder_rates": [2, 3, 8, 8],
        "decoder_rates": [8, 8, 3, 2],
        "attn_window_size": 32,
        "vq_strides": [8, 4, 2, 1],
    },
}
MODELS["44khz"] = {**MODELS["32khz"], "sampling_rate": 44_100}
KBPS = {"24khz": 0.984, "32khz": 1.875, "44khz": 2.584}


def save(folder: Path, name: str) -> Path:
    folder.mkdir()
    config = {**NARROW, **MODELS[name], "noise": True, "depthwise": True}
    torch.manual_seed(1)
    model = snac.SNAC(**config)
    with torch.no_grad():  # a random encoder's output is nearly constant
        samples = probe(config["sampling_rate"], 1, seconds=1.0).samples
        latents = model.encoder(model.preprocess(samples))[0]
        center, spread = latents.mean(1), latents.std(1)
        last = model.encoder.block[-1]
        last.parametrizations.weight.original0 /= spread[:, None, None]
        last.bias.copy_((last.bias - center) / spread)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("snac")
    return {name: save(root / name, name) for name in MODELS}


@pytest.mark.parametrize("name", ["24khz", "32khz"])
def test_it_passes_the_codec_checks(name: str, folders: dict[str, Path]) -> None:
    check_codec(Snac(weights=folders[name]), seconds=0.3)


@pytest.mark.parametrize("name", MODELS)
def test_codes_and_audio_are_those_of_the_package(name: str, folders: dict[str, Path]) -> None:
    codec = Snac(weights=folders[name])
    model = snac.SNAC.from_pretrained(str(folders[name]))
    audio = example_audio(codec, seconds=1.0)
    encoded = codec.encode(audio, codec.points[0])
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    assert isinstance(encoded.payload, Tokens)
    clip, length = 1, int(audio.lengths[1])
    with torch.inference_mode():
        codes = model.encode(audio.samples[clip : clip + 1, :, :length])
        torch.manual_seed(noise_seed(codes))
        expected = model.decode(codes)[0, :, :length]
    for stream, direct in zip(encoded.payload.streams, codes, strict=True):
        assert torch.equal(stream.codes[clip, :, : direct.shape[-1]], direct)
        assert direct.unique().numel() > min(8, direct.shape[-1] // 2)
    torch.testing.assert_close(decoded.samples[clip, :, :length], expected, atol=1e-5, rtol=0)
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_the_rate_is_that_of_all_streams(name: str, folders: dict[str, Path]) -> None:
    codec = Snac(weights=folders[name])
    assert codec.points[0].target_kbps == pytest.approx(KBPS[name], abs=5e-4)
    config = MODELS[name]
    window = 12_288 if config["attn_window_size"] else 2048
    whole = torch.zeros(1, 1, 3 * window)
    whole[..., ::50] = 0.5
    audio = example_audio(codec).select([0])
    measured = {}
    for length in (3 * window, 2 * window + 1):
        clip = type(audio)(whole[..., :length], torch.tensor([length]), audio.sample_rate)
        (rate,) = rates(codec.encode(clip, codec.points[0]))[RateKind.NOMINAL]
        measured[length] = rate
    assert measured[3 * window].kbps == pytest.approx(KBPS[name], abs=5e-4)
    # The frames that the package adds are sent as well.
    assert measured[2 * window + 1].bits == measured[3 * window].bits


def test_the_noise_is_drawn_of_the_codes_and_leaves_the_generator_alone(
    folders: dict[str, Path],
) -> None:
    codec = Snac(weights=folders["24khz"])
    audio = example_audio(codec)
    given = codec.decoder_input(codec.encode(audio, codec.points[0]), CODES, [0] * audio.clips)
    torch.manual_seed(3)
    first = codec.decode(given).samples
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.rand(1) == drawn
    assert torch.equal(codec.decode(given).samples, first)
    model = codec.model
    with torch.inference_mode():
        codes = [s.codes[:1, 0] for s in given.payload.streams]  # type: ignore[union-attr]
        both = [model.decode(codes) for _ in range(2)]
    assert not torch.equal(*both)  # the noise that would else be another each time


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vq_strides": [3, 2, 1]}, "vq_strides do not divide"),
        ({"decoder_rates": [8, 8, 4, 4]}, "of differing frames"),
        ({"codebook_size": 2048}, "does not fit codec 'snac'"),
        ({"vq_strides": [4, 1]}, "does not fit codec 'snac'"),
        ({"encoder_dim": 16_000}, "more than the"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_config_that_contradicts_itself_or_the_weights_is_refused(
    change: dict[str, Any], said: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    weights = folders["24khz"]
    config = json.loads((weights / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "pytorch_model.bin").symlink_to(weights / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=said):
        Snac(weights=tmp_path)


def test_what_is_missing_is_named(tmp_path: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(CodecError, match="needs the option weights"):
        Snac()
    with pytest.raises(WeightsError, match=r"has no config\.json; fetch it from"):
        Snac(weights=tmp_path)
    with pytest.raises(WeightsError, match=r"there is no folder .* the id of a model"):
        Snac(weights=tmp_path / "nowhere")
    with pytest.raises(CodecError, match="no operating point at 3 kbps"):
        Snac(weights=folders["24khz"], points=[3])
    assert Snac(weights=folders["32khz"], points=[1.9]).points[0].name == "1.88"


def test_a_model_in_the_cache_of_the_hub_is_found(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    shutil.copytree(folders["24khz"], tmp_path / "models--a--b" / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    info = Snac(weights=f"a/b@{commit}").info
    assert info.details["weights_from"] == f"https://huggingface.co/a/b at {commit}"
    assert info.weights_sha256 == Snac(weights=folders["24khz"]).info.weights_sha256
