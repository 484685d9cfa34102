"""The DACVAE adapter, on seeded weights in the layout in which its authors publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rdbench.codecs.posterior.dacvae import Arguments, DacVae, check_same
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.rate import rates
from rdbench.types import MEAN, CodecError, Posterior, RateKind, WeightsError

ARGUMENTS: dict[str, Any] = {
    "encoder_dim": 4,
    "encoder_rates": [2, 8, 10, 12],
    "latent_dim": 16,
    "decoder_dim": 1536,  # the watermark's branch is of its one width
    "decoder_rates": [12, 10, 8, 2],
    "n_codebooks": 16,
    "codebook_dim": 8,
    "sample_rate": 48_000,
}


def test_a_device_that_decodes_otherwise_is_refused() -> None:
    here = torch.randn(1, 1, 100, generator=torch.Generator().manual_seed(0))
    check_same(here, here * (1 + 1e-5), "cuda:0")
    with pytest.raises(CodecError, match="decodes otherwise on cuda:0 than on the CPU"):
        check_same(here, here * 1.01, "cuda:0")
    with pytest.raises(CodecError, match="by nan"):
        check_same(here, here * torch.nan, "cuda:0")


def test_the_published_model_has_25_frames_a_second() -> None:
    told = Arguments()
    assert torch.tensor(told.encoder_rates).prod() == told.sample_rate / 25
    with pytest.raises(ValueError, match="of differing frames"):
        Arguments(encoder_rates=[2, 4, 8, 8])


@pytest.fixture(scope="module")
def package() -> Any:
    return pytest.importorskip("dacvae", reason="see docs/codecs.md")


@pytest.fixture(scope="module")
def weights(package: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dacvae") / "weights.pth"
    torch.manual_seed(5)
    model = package.DACVAE(**ARGUMENTS)
    with torch.no_grad():  # a new model's last layers are nearly silent
        for name, parameter in model.decoder.model.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(1.3)
    torch.save({"state_dict": model.state_dict(), "metadata": {"kwargs": ARGUMENTS}}, path)
    return path


def test_it_passes_the_codec_checks(weights: Path) -> None:
    check_codec(DacVae(weights=weights), seconds=0.1)


def test_posterior_and_audio_are_those_of_the_package(package: Any, weights: Path) -> None:
    codec = DacVae(weights=weights.parent)
    model = package.DACVAE(**ARGUMENTS).eval()
    model.load_state_dict(torch.load(weights, weights_only=True)["state_dict"])
    audio = example_audio(codec, seconds=0.2)
    encoded = codec.encode(audio, codec.points[0])
    clip, length = 1, int(audio.lengths[1])
    assert isinstance(encoded.payload, Posterior)
    frames = int(encoded.payload.frames[clip])
    seen: dict[str, Any] = {}
    model.quantizer._vae_sample = lambda mean, scale: seen.update(scale=scale) or (mean, 0)
    with torch.inference_mode():
        latent = model.encode(audio.samples[clip : clip + 1, :, :length])
        bits = model.decoder.wm_model.msg_processor.nbits
        model.decoder.wm_model.random_message = lambda clips: torch.zeros(clips, bits)
        expected = model.decode(latent)[0, :, :length]
    mean, scale = (one[clip, :, :frames] for one in (encoded.payload.mean, encoded.payload.scale))
    torch.testing.assert_close(mean, latent[0], atol=1e-5, rtol=1e-4)
    wanted = torch.nn.functional.softplus(seen["scale"][0]) + 1e-4
    torch.testing.assert_close(scale, wanted, atol=1e-6, rtol=1e-4)
    decoded = codec.decode(codec.decoder_input(encoded, MEAN, [0] * audio.clips))
    made = decoded.samples[clip, :, :length]
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
    assert made.abs().max() > 1e-4


def test_the_kl_is_that_of_mean_and_scale(weights: Path) -> None:
    codec = DacVae(weights=weights)
    encoded = codec.encode(example_audio(codec, seconds=0.1).select([0]), codec.points[0])
    assert isinstance(encoded.payload, Posterior)
    mean, scale = encoded.payload.mean.double(), encoded.payload.scale.double()  # type: ignore[union-attr]
    nats = 0.5 * (mean.square() + scale.square() - 1) - scale.log()
    (measured,) = rates(encoded)[RateKind.KL]
    assert measured.bits == pytest.approx(float(nats.sum()) / torch.log(torch.tensor(2.0)).item())


def test_what_is_wrong_is_said(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="needs the option weights"):
        DacVae()
    content = torch.load(weights, weights_only=True)
    for change, said in (
        ({"decoder_rates": [2, 2, 2, 2]}, "of differing frames"),
        ({"codebook_dim": 4}, "does not fit codec 'dacvae'"),
        ({"encoder_dim": 0}, "encoder_dim"),
    ):
        content["metadata"]["kwargs"] = ARGUMENTS | change
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(WeightsError, match=said):
            DacVae(weights=tmp_path)
