"""CoDiCodec's continuous latent, on seeded weights in the layout in which its authors publish."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_codicodec import inference_in_float32, narrow_models, save, trainer_of

from rdbench.codecs.neural.codicodec import FADE, PIECE, CoDiCodec
from rdbench.codecs.posterior.codicodec_latent import CoDiCodecLatent
from rdbench.codecs.seeds import seeded
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.types import MEAN, AudioBatch, CodecError, Posterior, Tokens

pytestmark = pytest.mark.skipif(
    find_spec("codicodec") is None, reason="pip install 'rdbench[codicodec]'"
)


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> Any:
    return narrow_models(monkeypatch)


@pytest.fixture
def weights(tmp_path: Path, models: Any) -> Path:
    return save(tmp_path, models)


def decoded(codec: CoDiCodecLatent, audio: AudioBatch) -> torch.Tensor:
    encoded = codec.encode(audio, codec.points[0])
    return codec.decode(codec.decoder_input(encoded, MEAN, [0] * audio.clips)).samples


def test_it_passes_the_codec_checks(weights: Path) -> None:
    check_codec(CoDiCodecLatent(weights=weights, steps=1), seconds=0.1)


def test_latent_and_audio_are_those_of_the_package(
    weights: Path, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = inference_in_float32(monkeypatch)
    codec = CoDiCodecLatent(weights=weights, steps=2, seed=5)
    audio = example_audio(codec, seconds=1.0).select([0])
    length = int(audio.lengths[0])
    package = inference.EncoderDecoder.__new__(inference.EncoderDecoder)  # which would download
    package.gen, package.device = trainer_of(weights, models).gen, torch.device("cpu")
    package.latents_per_timestep, package.bottleneck_channels = 128, 4
    padded = torch.zeros(2, 2 * PIECE + FADE)
    padded[:, FADE : FADE + length] = audio.samples[0]
    latent = package.encode(padded, discrete=False, desired_channels=64)  # (pieces, frames, 64)
    with seeded(5, package.device):
        expected = package.decode(latent, denoising_steps=2)
    encoded = codec.encode(audio, codec.points[0]).payload
    assert isinstance(encoded, Posterior)
    assert encoded.scale is None
    assert encoded.mean.shape == (1, 64, 16)
    assert encoded.frame_rate == pytest.approx(10.77, abs=5e-3)
    of_package = latent.reshape(-1, 64).T
    torch.testing.assert_close(encoded.mean[0], of_package, atol=1e-5, rtol=0)
    assert of_package.std() > 0.05
    made = decoded(codec, audio)[0]
    torch.testing.assert_close(made, expected[:, FADE : FADE + length], atol=1e-5, rtol=0)
    assert made.std() > 1e-4


def test_it_is_what_the_tokens_are_rounded_from(weights: Path) -> None:
    latent, tokens = CoDiCodecLatent(weights=weights, steps=1), CoDiCodec(weights=weights)
    audio = example_audio(tokens, seconds=0.5).select([0])
    mean, codes = (codec.encode(audio, codec.points[0]).payload for codec in (latent, tokens))
    assert isinstance(mean, Posterior)
    assert isinstance(codes, Tokens)
    vectors = (0.8 * mean.mean[0]).tanh().T.reshape(-1, 4)
    rounded = tokens.model.network.fsq.round_continuous(vectors)
    indices = tokens.model.network.fsq.codes_to_indexes(rounded)
    assert (indices == codes.streams[0].codes[0, 0]).float().mean() > 0.99  # but for ties


def test_a_saturated_value_has_a_finite_latent(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = CoDiCodecLatent(weights=weights, steps=1)
    ends = torch.tensor([[[-1.0, 1.0]]]).expand(1, 16, 2).reshape(1, -1, 4)
    monkeypatch.setattr(codec.model, "encode", lambda *_, **__: torch.cat([ends] * 2, 1))
    mean, _ = codec.posterior(torch.zeros(1, 2, 9))
    assert mean.shape == (1, 64, 1)
    assert mean.isfinite().all()
    assert (0.8 * mean).tanh().unique().tolist() == pytest.approx([-1.0, 1.0])


def test_the_decoders_noise_comes_from_the_seed_alone(weights: Path) -> None:
    codec = CoDiCodecLatent(weights=weights, steps=1)
    audio = example_audio(codec, seconds=0.1).select([0])
    first = decoded(codec, audio)
    torch.manual_seed(1)
    assert torch.equal(decoded(codec, audio), first)
    other = decoded(CoDiCodecLatent(weights=weights, steps=1, seed=1), audio)
    assert not torch.allclose(other, first, atol=1e-4)


def test_it_needs_weights_by_its_own_name() -> None:
    with pytest.raises(CodecError, match="codec 'codicodec_latent' needs the option weights"):
        CoDiCodecLatent()
