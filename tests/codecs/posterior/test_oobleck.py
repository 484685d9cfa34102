"""The Oobleck adapter, on seeded weights saved in diffusers' own layout."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from rdbench.codecs.posterior.diffusers.codec import Oobleck
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import MEAN, AudioBatch, CodecError, Posterior, RateKind, WeightsError
from rdbench.weights.checkpoints import tensors_sha256

diffusers = pytest.importorskip("diffusers", reason="pip install 'rdbench[diffusers]'")

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = diffusers.AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4, 8],
        channel_multiples=[1, 2, 4],
        decoder_channels=8,
        decoder_input_channels=4,
        audio_channels=2,
        sampling_rate=RATE,
    )
    path = tmp_path_factory.mktemp("oobleck")
    model.save_pretrained(path / "vae")
    return path


def stereo(length: int) -> AudioBatch:
    samples = 0.1 * torch.randn(1, 2, length, generator=torch.Generator().manual_seed(0))
    return AudioBatch(samples, torch.tensor([length]), RATE)


def test_it_passes_the_codec_checks(folder: Path) -> None:
    check_codec(Oobleck(weights=folder / "vae"))


def test_rate_is_from_mean_and_std_with_the_half_that_diffusers_lacks(folder: Path) -> None:
    codec = Oobleck(weights=folder, subfolder="vae")
    assert codec.info.frame_rate == RATE / 64
    audio = stereo(64 * 30)
    encoded = codec.encode(audio, codec.points[0])
    (rate,) = rates(encoded)[RateKind.KL]
    model = diffusers.AutoencoderOobleck.from_pretrained(folder / "vae")
    with torch.no_grad():
        latent = model.encode(audio.samples).latent_dist
    assert isinstance(encoded.payload, Posterior)
    torch.testing.assert_close(encoded.payload.mean, latent.mean)
    assert rate.bits == pytest.approx(0.5 * float(latent.kl()) * 30 / math.log(2), rel=1e-5)


def test_the_mean_decodes_as_in_diffusers(folder: Path) -> None:
    codec = Oobleck(weights=folder / "vae")
    audio = stereo(64 * 30 + 5)
    encoded = codec.encode(audio, codec.points[0])
    assert encoded.payload.frames.tolist() == [31]  # type: ignore[union-attr]
    made = codec.decode(codec.decoder_input(encoded, MEAN, [0]))
    model = diffusers.AutoencoderOobleck.from_pretrained(folder / "vae")
    padded = torch.nn.functional.pad(audio.samples, (0, 59))
    with torch.no_grad():
        expected = model(padded).sample[..., : 64 * 30 + 5]
    torch.testing.assert_close(made.samples, expected)


def test_a_file_that_is_overwritten_changes_no_model_that_was_read(
    folder: Path, tmp_path: Path
) -> None:
    """Tensors that lie in a mapped file would change with it."""
    shutil.copytree(folder / "vae", tmp_path / "vae")
    codec = Oobleck(weights=tmp_path / "vae")
    (weights,) = (tmp_path / "vae").glob("*.safetensors")
    with weights.open("r+b") as file:
        file.write(bytes(weights.stat().st_size))
    assert tensors_sha256(codec.model) == codec.info.weights_sha256


def test_incomplete_or_absent_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(CodecError, match="needs the option weights"):
        Oobleck()
    with pytest.raises(WeightsError, match=r"no config\.json"):
        Oobleck(weights=folder)
    name = "diffusion_pytorch_model.safetensors"
    (tmp_path / "config.json").write_text((folder / "vae" / "config.json").read_text())
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read: .*No such file"):
        Oobleck(weights=tmp_path)
    tensors = load_file(folder / "vae" / name)
    tensors.pop("encoder.conv1.bias")
    save_file(tensors, tmp_path / name, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 missing \(first 'encoder\.conv1\.bias'\)"):
        Oobleck(weights=tmp_path)


def test_a_pickle_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "vae" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save({}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read"):
        Oobleck(weights=tmp_path)
