"""Continuous tokenizers of `transformers`: latents without a posterior, as the package has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import seeded_tokenizers as made
import torch

from rdbench.codecs.audio_tokenizers.latents import VibeVoiceAcoustic
from rdbench.codecs.registry import create
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import MEAN, AudioBatch, CodecError, Posterior, RateKind, Status

pytest.importorskip("transformers", reason="pip install 'rdbench[transformers]'")

EVERY = pytest.mark.parametrize("name", made.LATENTS)
HOPS = {"vibevoice_acoustic": 3200, "pocket_tts": 1920}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("latents")
    return {name: made.save(base / name, build) for name, build in made.LATENTS.items()}


def noise(length: int) -> AudioBatch:
    samples = 0.1 * torch.randn(1, 1, length, generator=torch.Generator().manual_seed(0))
    return AudioBatch(samples, torch.tensor([length]), 24_000)


@EVERY
def test_latent_and_audio_are_those_of_the_package(name: str, folders: dict[str, Path]) -> None:
    codec: Any = create(name, options={"weights": folders[name]})
    model = type(made.LATENTS[name]()).from_pretrained(folders[name])
    ours, theirs = dict(codec.model.named_buffers()), dict(model.named_buffers())
    assert all(torch.equal(ours[key], buffer) for key, buffer in theirs.items())

    hop = HOPS[name]
    assert codec.info.frame_rate == 24_000 / hop
    audio = noise(7 * hop + 5)
    encoded = codec.encode(audio, codec.points[0])
    padded = torch.nn.functional.pad(audio.samples, (0, hop - 5))
    with torch.no_grad():
        latents = made.encode(model, padded).latents
        wave = model.decode(latents)[0]
    assert isinstance(encoded.payload, Posterior)
    assert encoded.payload.frames.tolist() == [8]
    assert min(float(latents.std()), float(wave.std())) > 1e-3  # far above the tolerance
    torch.testing.assert_close(encoded.payload.mean, latents.transpose(1, 2), rtol=0, atol=1e-5)
    decoded = codec.decode(codec.decoder_input(encoded, MEAN, [0]))
    torch.testing.assert_close(decoded.samples, wave[..., : 7 * hop + 5], rtol=0, atol=1e-5)


@EVERY
def test_it_passes_the_codec_checks(name: str, folders: dict[str, Path]) -> None:
    check_codec(create(name, options={"weights": folders[name]}))


@EVERY
def test_there_is_no_rate(name: str, folders: dict[str, Path]) -> None:
    codec: Any = create(name, options={"weights": folders[name]})
    encoded = codec.encode(noise(9600), codec.points[0])
    (rate,) = rates(encoded)[RateKind.KL]
    assert rate.status is Status.UNDEFINED
    assert codec.info.headline is None
    assert codec.variants == (MEAN,)


def test_a_frame_count_that_contradicts_the_configuration_is_refused(
    folders: dict[str, Path],
) -> None:
    codec = VibeVoiceAcoustic(weights=folders["vibevoice_acoustic"])
    plain = codec._latents
    codec._latents = lambda audio: plain(audio)[:, ::2]  # type: ignore[method-assign]
    with pytest.raises(CodecError, match=r"made 2 frames of 9600 samples, .* says 3;") as found:
        codec.encode(noise(9600), codec.points[0])
    assert "\n" not in str(found.value)
