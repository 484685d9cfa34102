"""The CoDiCodec adapter, on seeded weights in the layout in which its authors publish."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_codicodec import inference_in_float32, narrow_models, save, trainer_of

from rdbench.codecs.neural.codicodec import FADE, PIECE, CoDiCodec
from rdbench.codecs.seeds import noise_seed, seeded
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.rate import rates
from rdbench.types import (
    CODES,
    AudioBatch,
    CodecError,
    DecoderInput,
    RateKind,
    Tokens,
    WeightsError,
)

pytestmark = pytest.mark.skipif(
    find_spec("codicodec") is None, reason="pip install 'rdbench[codicodec]'"
)


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> Any:
    return narrow_models(monkeypatch)


@pytest.fixture
def weights(tmp_path: Path, models: Any) -> Path:
    return save(tmp_path, models)


def given(codec: CoDiCodec, audio: AudioBatch) -> DecoderInput:
    encoded = codec.encode(audio, codec.points[0])
    return codec.decoder_input(encoded, CODES, [0] * audio.clips)


def test_it_passes_the_codec_checks(weights: Path) -> None:
    check_codec(CoDiCodec(weights=weights, steps=1), seconds=0.1)


def test_codes_and_audio_are_those_of_the_package(
    weights: Path, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = inference_in_float32(monkeypatch)
    codec = CoDiCodec(weights=weights / "codicodec.pt", steps=3)
    audio = example_audio(codec, seconds=1.0).select([0])
    length = int(audio.lengths[0])
    padded = torch.zeros(2, 2 * PIECE + FADE)
    padded[:, FADE : FADE + length] = audio.samples[0]
    trainer = trainer_of(weights, models)
    cpu = torch.device("cpu")
    latents = inference.encode_audio_inference(padded, trainer, 64, device=cpu)
    codes = trainer.gen.fsq.codes_to_indexes(latents)
    with seeded(noise_seed([codes.reshape(-1).long()]), cpu):
        expected = inference.decode_latent_inference(
            trainer.gen.fsq.indexes_to_codes(codes),
            trainer, "parallel", 32, denoising_steps=3, device=cpu,
        )  # fmt: skip
    made = given(codec, audio)
    assert isinstance(made.payload, Tokens)
    (stream,) = made.payload.streams
    assert torch.equal(stream.codes[0, 0], codes.reshape(-1).long())
    assert codes.unique().numel() > 64
    decoded = codec.decode(made).samples[0]
    torch.testing.assert_close(decoded, expected[:, FADE : FADE + length], atol=1e-5, rtol=0)
    assert decoded.std() > 1e-4


@pytest.mark.parametrize(("rate", "kbps"), [(44_100, 2.384), (48_000, 2.595)])
def test_the_rate_is_that_of_whole_pieces(rate: int, kbps: float, weights: Path) -> None:
    codec = CoDiCodec(weights=weights, sample_rate=rate)
    assert codec.points[0].target_kbps == pytest.approx(kbps, abs=5e-4)
    for length, pieces in ((1, 1), (PIECE - FADE, 1), (PIECE - FADE + 1, 2)):
        audio = AudioBatch(torch.full((1, 2, length), 0.1), torch.tensor([length]), rate)
        encoded = codec.encode(audio, codec.points[0])
        (measured,) = rates(encoded)[RateKind.NOMINAL]
        assert measured.bits == pytest.approx(pieces * kbps * 1000 * PIECE / rate, rel=1e-3)


def test_importing_the_package_changes_nothing_else() -> None:
    assert torch.backends.cudnn.benchmark is False
    assert "codicodec" not in os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")


def test_what_is_wrong_is_said(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="needs the option weights"):
        CoDiCodec()
    with pytest.raises(CodecError, match="sample_rate is 16000; give 44100 or 48000"):
        CoDiCodec(weights=weights, sample_rate=16_000)
    with pytest.raises(CodecError, match="steps is 0; give one from 1 to 100"):
        CoDiCodec(weights=weights, steps=0)
    content = torch.load(weights / "codicodec.pt", weights_only=True)
    del content["gen_state_dict"]["latents"]
    torch.save(content, tmp_path / "less.pt")
    with pytest.raises(WeightsError, match=r"1 missing \(first 'latents'\)"):
        CoDiCodec(weights=tmp_path / "less.pt")
    codec = CoDiCodec(weights=weights)
    audio = AudioBatch(torch.zeros(1, 2, 100), torch.tensor([100]), 44_100)
    asked = given(codec, audio)
    longer = DecoderInput(asked.payload, torch.tensor([PIECE]), 44_100, 2)
    with pytest.raises(CodecError, match="128 tokens for 32768 samples"):
        codec.decode(longer)
