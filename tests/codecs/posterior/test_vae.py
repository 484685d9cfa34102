"""Adapters of variational autoencoders: ours, anyone's, and their rates."""

import math
from pathlib import Path

import pytest
import torch

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.posterior.vae import Vae
from rdbench.codecs.testing import check_codec
from rdbench.codecs.variants import variant
from rdbench.models import checkpoint, shipped
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import AutoencoderConfig
from rdbench.rate import rates
from rdbench.types import MEAN, SAMPLE, AudioBatch, CodecError, Posterior, RateKind, WeightsError

RATE = 16_000
GAUSSIAN = {"kind": "gaussian", "channels": 6, "scale": "softplus"}
RVQ = {"kind": "rvq", "channels": 6, "codebooks": 6, "codebook_size": 32, "codebook_dim": 4}
VQ = {"kind": "vq", "channels": 6, "codebook_size": 32}
SPECTRAL = {"kind": "spectral", "width": 16, "encoder_layers": 1, "decoder_layers": 1}
SPECTROGRAM = {
    "kind": "spectrogram", "spectrum_hop": 80, "window": 256, "widths": [4, 8], "strides": [1, 2]
}  # fmt: skip
STAR = {"kind": "star", "strides": (10, 16), "widths": (4, 6, 8), "layers": 1, "state": 2}


def save(
    folder: Path,
    bottleneck: dict[str, object],
    name: str = "tiny",
    backbone: dict[str, object] = SPECTRAL,
) -> Path:
    config = AutoencoderConfig.model_validate({"backbone": backbone, "bottleneck": bottleneck})
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    provenance = {"recipe": {"objective": {"kind": "target_kl", "kbps": 6.0}}, "steps": 3}
    checkpoint.save(path, Autoencoder(config), provenance if bottleneck is GAUSSIAN else {})
    return path


def ragged(seed: int = 0) -> AudioBatch:
    lengths = torch.tensor([4000, 2501, 4000])
    samples = 0.1 * torch.randn(3, 1, 4000, generator=torch.Generator().manual_seed(seed))
    samples[1, :, 2501:] = 0
    return AudioBatch(samples, lengths, RATE)


@pytest.mark.parametrize(
    ("bottleneck", "backbone"),
    [
        (GAUSSIAN, SPECTRAL),
        (GAUSSIAN, STAR),
        (GAUSSIAN, SPECTROGRAM),
        (RVQ | {"dropout": 0.5}, SPECTRAL),
        (RVQ, SPECTRAL),
        (VQ, SPECTRAL),
        (VQ | {"top_stride": 2}, SPECTRAL),
    ],
    ids=["gaussian", "star", "spectrogram", "nested", "single", "vq", "hierarchical"],
)
def test_our_checkpoints_pass_the_codec_checks(
    tmp_path: Path, bottleneck: dict[str, object], backbone: dict[str, object]
) -> None:
    """Of `star` the check of padding is a sharp one: a scan reaches to a clip's other end. Of
    `spectrogram` it says that Griffin-Lim of a batch is that of its clips."""
    check_codec(Vae(weights=save(tmp_path, bottleneck, backbone=backbone)))


def test_two_levels_cost_the_indices_of_each(tmp_path: Path) -> None:
    codec = Vae(weights=save(tmp_path, VQ | {"top_stride": 2}))
    assert [point.name for point in codec.points] == ["0.75"]
    assert not codec.nested
    found = rates(codec.encode(ragged(), codec.points[0]))[RateKind.NOMINAL]
    # 25 and 16 frames of the lower level, padded to whole pairs, and half as many of the upper.
    assert [rate.bits for rate in found] == [5 * (26 + 13), 5 * (16 + 8), 5 * (26 + 13)]


def test_a_gaussian_checkpoint_is_one_point_named_by_its_target(tmp_path: Path) -> None:
    codec = Vae(weights=save(tmp_path, GAUSSIAN), points=[6])
    assert [point.name for point in codec.points] == ["6"]
    assert codec.variants == (SAMPLE, MEAN)
    assert codec.info.name == "tiny"
    assert codec.info.headline is RateKind.KL
    assert codec.info.frame_rate == 100.0
    assert len(codec.info.weights_sha256) == 64


def test_a_nested_quantizer_has_a_point_for_each_codebook(tmp_path: Path) -> None:
    path = save(tmp_path, RVQ | {"dropout": 0.5})
    codec = Vae(weights=path)
    assert codec.nested
    assert [point.name for point in codec.points] == ["1.5", "3"]
    every = Vae(weights=path, points=[0.5, 1.0, "1.5", 2.0, 2.5, 3.0])
    audio = ragged()
    encoded = every.encode(audio, every.points[-1])
    for point in every.points:
        for rate in rates(every.at(encoded, point))[RateKind.NOMINAL]:
            frames = math.ceil(rate.seconds * 100 - 1e-9)
            bits = 5 * point.settings["n_codebooks"] * frames
            assert rate.bits == pytest.approx(bits, rel=1e-12)


def test_a_quantizer_trained_for_one_rate_has_one_point(tmp_path: Path) -> None:
    path = save(tmp_path, RVQ)
    codec = Vae(weights=path)
    assert not codec.nested
    assert [point.name for point in codec.points] == ["3"]
    with pytest.raises(CodecError, match="nearest"):
        Vae(weights=path, points=[1.5])


def test_kl_rates_are_those_of_mean_and_scale_in_float64(tmp_path: Path) -> None:
    codec = Vae(weights=save(tmp_path, GAUSSIAN))
    audio = ragged()
    encoded = codec.encode(audio, codec.points[0])
    posterior = encoded.payload
    assert isinstance(posterior, Posterior)
    assert posterior.scale is not None
    assert posterior.frames.tolist() == [25, 16, 25]
    for clip, rate in enumerate(rates(encoded)[RateKind.KL]):
        frames = int(posterior.frames[clip])
        q = torch.distributions.Normal(
            posterior.mean[clip, :, :frames].double(), posterior.scale[clip, :, :frames].double()
        )
        p = torch.distributions.Normal(0.0, 1.0)
        bits = float(torch.distributions.kl_divergence(q, p).sum()) / math.log(2)
        assert rate.bits == pytest.approx(bits, rel=1e-6)
        assert rate.seconds == pytest.approx(float(audio.lengths[clip]) / RATE)


def test_a_sample_belongs_to_its_clip_and_seed(tmp_path: Path) -> None:
    codec = Vae(weights=save(tmp_path, GAUSSIAN))
    audio, point = ragged(), codec.points[0]
    encoded = codec.encode(audio, point)
    together = codec.decode(codec.decoder_input(encoded, SAMPLE, [7, 8, 9]))
    alone = codec.decode(codec.decoder_input(codec.encode(audio.select([1]), point), SAMPLE, [8]))
    torch.testing.assert_close(together.samples[1, :, :2501], alone.samples[0], atol=1e-5, rtol=0)
    other = codec.decode(codec.decoder_input(encoded, SAMPLE, [7, 1, 9]))
    assert torch.equal(other.samples[0], together.samples[0])
    assert not torch.allclose(other.samples[1], together.samples[1], atol=1e-4)
    mean = codec.decode(codec.decoder_input(encoded, MEAN, [7, 8, 9]))
    assert not torch.allclose(mean.samples, together.samples, atol=1e-4)


def test_noise_scales_the_distance_from_the_mean(tmp_path: Path) -> None:
    codec = Vae(weights=save(tmp_path, GAUSSIAN))
    encoded = codec.encode(ragged(), codec.points[0])
    away = {}
    for one in (MEAN, variant("noise_0.5"), SAMPLE, variant("noise_2")):
        values = codec.decoder_input(encoded, one, [1, 2, 3]).payload.values  # type: ignore[union-attr]
        away[one] = values - encoded.payload.mean  # type: ignore[union-attr]
    assert float(away[MEAN].abs().max()) == 0.0
    sample = away[SAMPLE]
    torch.testing.assert_close(away[variant("noise_0.5")] * 2, sample, atol=1e-5, rtol=0)
    torch.testing.assert_close(away[variant("noise_2")], sample * 2, atol=1e-5, rtol=0)


class Theirs(PosteriorCodec):
    """Someone's VAE with random linear maps over frames of 80 samples."""

    def __init__(self, prior: bool = True) -> None:
        torch.manual_seed(0)
        modules = torch.nn.ModuleDict(
            {
                "mean": torch.nn.Linear(80, 3),
                "scale": torch.nn.Linear(80, 3),
                "out": torch.nn.Linear(3, 80),
            }
        )
        super().__init__(
            name="theirs", sample_rate=8000, frame_rate=100.0, modules=modules, prior=prior
        )

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        padded = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % 80))
        frames = padded.reshape(len(audio), -1, 80)
        mean = self.modules["mean"](frames).transpose(1, 2)  # type: ignore[index]
        scale = torch.exp(self.modules["scale"](frames)).transpose(1, 2)  # type: ignore[index]
        return mean, scale if self.info.headline else None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return self.modules["out"](z.transpose(1, 2)).reshape(len(z), 1, -1)  # type: ignore[index]


def test_anyones_vae_needs_three_things() -> None:
    check_codec(Theirs(), max_residual=None)


def test_a_latent_without_a_prior_has_no_kl_and_no_sample() -> None:
    codec = Theirs(prior=False)
    check_codec(codec, max_residual=None)
    audio = AudioBatch(0.1 * torch.randn(1, 1, 800), torch.tensor([800]), 8000)
    encoded = codec.encode(audio, codec.points[0])
    assert codec.decode(codec.decoder_input(encoded, MEAN, [0])).samples.shape == (
        1,
        1,
        800,
    )
    assert codec.variants == (MEAN,)
    assert codec.info.headline is None
    with pytest.raises(CodecError, match="no variant 'sample'"):
        codec.decoder_input(encoded, SAMPLE, [0])


def test_wrong_audio_and_weights_are_refused(tmp_path: Path) -> None:
    codec = Vae(weights=save(tmp_path, GAUSSIAN))
    stereo = AudioBatch(torch.zeros(1, 2, 800), torch.tensor([800]), RATE)
    with pytest.raises(CodecError, match="takes mono, not 2 channels"):
        codec.encode(stereo, codec.points[0])
    with pytest.raises(CodecError, match="needs the option weights"):
        Vae()
    with pytest.raises(CodecError, match="with rdbench; did you mean 'vae_"):
        Vae(weights="vae_7k")
    for path in ("vae_7k.safetensors", "folder/vae_7k", "something_else"):
        with pytest.raises(WeightsError, match="neither a file nor a checkpoint"):
            Vae(weights=path)
    siblings = Vae(weights=save(tmp_path, RVQ))
    encoded = siblings.encode(ragged(), siblings.points[0])
    with pytest.raises(CodecError, match="no variant"):
        siblings.decoder_input(encoded, variant("noise_0.5"), [1, 2, 3])
    with pytest.raises(CodecError, match="nearest"):
        Vae(weights=save(tmp_path, GAUSSIAN), points=[12])


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_checkpoints_are_small_and_say_what_trained_them(name: str) -> None:
    path = shipped.find(name)
    header = checkpoint.read_header(path)
    assert path.stat().st_size < 3.6 * 2**20
    assert header.provenance["recipe"]["name"] == name
    assert header.provenance["steps"] == header.provenance["recipe"]["steps"]


SWEEP = {"vae_1k5": 1.5, "vae_3k": 3.0, "vae_6k": 6.0, "vae_12k": 12.0, "vae_24k": 24.0}


@pytest.mark.shared
@pytest.mark.parametrize("name", [name for name in SWEEP if name in shipped.names()])
def test_the_sweeps_measured_rate_is_near_its_target(name: str, shared_data: Path) -> None:
    from rdbench.audio.clip import Corpus
    from rdbench.audio.corpus import manifest_corpus
    from rdbench.training.evaluate import evaluate_rate

    clips = manifest_corpus(shared_data / "clips" / "manifest.csv").clips
    speech = tuple(clip for clip in clips if clip.group.startswith("librispeech"))
    model, _ = checkpoint.load(shipped.find(name))
    rate = evaluate_rate(model, Corpus("librispeech", speech, "LibriSpeech clips"))
    assert rate == pytest.approx(SWEEP[name], rel=0.1)
