"""The FocalCodec adapter, on seeded weights in the layout in which its author publishes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rdbench.audio.resample import resample
from rdbench.codecs.neural.focalcodec import FocalCodec
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.rate import rates
from rdbench.types import CODES, AudioBatch, CodecError, RateKind, Tokens, WeightsError

package = pytest.importorskip("focalcodec", reason="see docs/codecs.md")

# Strides, windows, codebooks and rates as published; layers are narrower and fewer.
ENCODER = {
    "hidden_dims": [16] * 7, "num_layers": 1, "dim": 32, "ffn_dim": 64, "num_heads": 2,
    "num_buckets": 32, "max_distance": 80, "conv_pos": 16, "conv_pos_groups": 4,
}  # fmt: skip
FOCAL = {"hidden_dims": [32, 32, 32], "focal_window": 7, "focal_level": 2, "focal_factor": 2}
VOCOS = {"input_dim": 32, "num_layers": 1, "dim": 32, "ffn_dim": 64, "hop_length": 320}


def config(bits: int, factors: list[int], causal: bool = False) -> dict[str, Any]:
    return {
        "encoder_name": "WavLM",
        "encoder_config": {**ENCODER, "causal": causal, "max_cached_steps": 64, "window_size": 64},
        "compressor_name": "FocalEncoder",
        "compressor_config": {
            **FOCAL, "input_dim": 32, "output_dim": bits, "downscale_factors": factors,
            "causal": causal,
        },
        "quantizer_name": "BinarySphericalQuantizer",
        "quantizer_config": {"codebook_size": 2**bits},
        "decompressor_name": "FocalDecoder",
        "decompressor_config": {
            **FOCAL, "input_dim": bits, "output_dim": 32, "upscale_factors": factors[::-1],
            "causal": causal,
        },
        "decoder_name": "WaveNeXt" if causal else "Vocos",
        "decoder_config": {**VOCOS, "hop_length": 480, "causal": True} if causal else VOCOS,
    }  # fmt: skip


MODELS = {
    "50hz": config(13, [1, 1, 1]),
    "12_5hz": config(13, [2, 2, 1]),
    "causal": config(11, [1, 1, 1], causal=True),
}
KBPS = {"50hz": 0.65, "12_5hz": 0.1625, "causal": 0.55}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("focalcodec")
    for name, arguments in MODELS.items():
        torch.manual_seed(2)
        model = package.FocalCodec(**copy.deepcopy(arguments)).eval()
        with torch.no_grad():  # a random encoder's output is nearly constant
            lats = model.compressor(model.sig_to_feats(0.1 * torch.randn(1, 16_000)))[0][0]
            last = model.compressor.out_proj
            last.weight /= lats.std(0)[:, None]
            last.bias.copy_((last.bias - lats.mean(0)) / lats.std(0))
        (root / name).mkdir()
        model.to_pretrained(str(root / name / "model"))
        (root / name / "model.json").rename(root / name / "config.json")
    return {name: root / name for name in MODELS}


@pytest.mark.parametrize("name", ["12_5hz", "causal"])
def test_it_passes_the_codec_checks(name: str, folders: dict[str, Path]) -> None:
    check_codec(FocalCodec(weights=folders[name], check=False), seconds=0.4)


@pytest.mark.parametrize("name", MODELS)
def test_codes_and_audio_are_those_of_the_package(name: str, folders: dict[str, Path]) -> None:
    codec = FocalCodec(weights=folders[name], check=False)
    (folders[name] / "model.json").write_bytes((folders[name] / "config.json").read_bytes())
    model = package.FocalCodec.from_pretrained(str(folders[name] / "model")).eval()
    audio = example_audio(codec, seconds=0.6)
    encoded = codec.encode(audio, codec.points[0])
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    clip, length = 1, int(audio.lengths[1])
    taken = resample(audio.samples[clip, :, :length], codec.info.sample_rates[0], 16_000)
    hop = round(16_000 / codec.info.frame_rate)  # type: ignore[operator]
    behind = -taken.shape[-1] % hop + (0 if name == "causal" else 80)
    with torch.inference_mode():
        codes = model.sig_to_toks(torch.nn.functional.pad(taken, (0, behind)))
        expected = model.toks_to_sig(codes)[0, :length]
    assert isinstance(encoded.payload, Tokens)
    stream = encoded.payload.streams[0]
    assert int(stream.frames[clip]) == codes.shape[-1] == -(-taken.shape[-1] // hop)
    assert torch.equal(stream.codes[clip, :, : codes.shape[-1]], codes)
    assert codes.unique().numel() > min(8, codes.shape[-1] // 2)
    torch.testing.assert_close(decoded.samples[clip, 0, :length], expected, atol=1e-5, rtol=0)
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_the_rate_is_that_of_the_codebook(name: str, folders: dict[str, Path]) -> None:
    codec = FocalCodec(weights=folders[name], check=False)
    assert codec.points[0].target_kbps == pytest.approx(KBPS[name])
    rate = codec.info.sample_rates[0]
    assert rate == (24_000 if name == "causal" else 16_000)
    clip = AudioBatch(
        0.1 * torch.randn(1, 1, rate * 16 // 25), torch.tensor([rate * 16 // 25]), rate
    )
    (measured,) = rates(codec.encode(clip, codec.points[0]))[RateKind.NOMINAL]
    assert measured.kbps == pytest.approx(KBPS[name])


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("quantizer_config", {"codebook_size": 4096}, "its codebook is not of the latent's signs"),
        ("compressor_config", {"downscale_factors": [2, 1, 1]}, "differ in frames"),
        ("compressor_config", {"surprise": 1}, "no model can be built"),
        ("encoder_config", {"dim": 64}, "does not fit codec 'focalcodec'"),
        ("encoder_config", {"dim": "exec"}, "encoder_config"),
    ],
)
def test_a_config_that_contradicts_itself_or_the_weights_is_refused(
    part: str, change: dict[str, Any], said: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    told = copy.deepcopy(MODELS["50hz"])
    told[part] |= change
    (tmp_path / "config.json").write_text(json.dumps(told))
    (tmp_path / "model.safetensors").symlink_to(folders["50hz"] / "model.safetensors")
    with pytest.raises(WeightsError, match=said):
        FocalCodec(weights=tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="needs the option weights"):
        FocalCodec()
    with pytest.raises(WeightsError, match=r"has no config\.json; fetch it from"):
        FocalCodec(weights=tmp_path)
