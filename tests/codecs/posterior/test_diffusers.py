"""The classes of diffusers against direct calls of them, on seeded weights in its own layout."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rdbench.codecs.posterior.base import VERSION
from rdbench.codecs.posterior.diffusers.codec import ADAPTER, Diffusers, Oobleck
from rdbench.codecs.posterior.diffusers.config import Layout
from rdbench.codecs.posterior.diffusers.same import Same
from rdbench.codecs.testing import check_codec
from rdbench.engine.plan.systems import build_systems
from rdbench.identity import file_sha256
from rdbench.rate import rates
from rdbench.spec.model import BenchmarkSpec
from rdbench.types import MEAN, AudioBatch, CodecError, Posterior, RateKind, Status, WeightsError
from rdbench.weights.hub import CONFIG, WEIGHTS, HubModel

diffusers = pytest.importorskip("diffusers", reason="pip install 'rdbench[diffusers]'")

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "AutoencoderOobleck": {
        "encoder_hidden_size": 8,
        "downsampling_ratios": [2, 4, 6],
        "channel_multiples": [1, 2, 4],
        "decoder_channels": 8,
        "decoder_input_channels": 4,
        "sampling_rate": 48_000,
    },
    "AutoencoderSAME": {
        "patch_size": 16,
        "encoder_channels": 16,
        "encoder_c_mults": [2, 3],
        "encoder_strides": [4, 2],
        "encoder_transformer_depths": [1, 2],
        "latent_dim": 6,
        "dim_heads": 16,
        "decoder_sinusoidal_blocks": [2],
        "sampling_rate": 16_000,
    },
    "LongCatAudioDiTVae": {
        "channels": 16,
        "c_mults": [1, 2, 4],
        "strides": [2, 4, 8],
        "latent_dim": 4,
        "encoder_latent_dim": 8,
        "downsampling_ratio": 64,
    },
    "AutoencoderKLMiniMaxH3Audio": {
        "encoder_dim": 4,
        "encoder_rates": [4, 5],
        "latent_dim": 16,
        "latent_channels": 4,
        "num_attention_heads": 2,
        "decoder_dim": 16,
        "decoder_rates": [5, 2, 2],
        "decoder_kernel_sizes": [9, 4, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
        "latents_mean": [1.0, 2.0, 3.0, 4.0],
        "latents_std": [3.0, 3.0, 3.0, 3.0],
    },
    "AutoencoderKLKVAEAudio": {
        "encoder_dim": 4,
        "encoder_rates": [2, 3, 5],
        "latent_dim": 16,
        "codebook_dim": 4,
        "decoder_dim": 32,
        "decoder_rates": [5, 3, 2],
        "attn_num_heads": 2,
    },
    "Cosmos3AVAEAudioTokenizer": {
        "vocoder_input_dim": 4,
        "dec_dim": 8,
        "dec_c_mults": [1, 2, 4],
        "dec_strides": [2, 4, 5],
        "enc_dim": 8,
        "enc_num_blocks": 1,
        "enc_n_fft": 16,
        "enc_hop_length": 4,
        "enc_latent_dim": 8,
        "enc_c_mults": [1, 2],
        "enc_strides": [2, 5],
    },
    "MMAudioVAE": {
        "mel_bins": 16,
        "latent_channels": 4,
        "hidden_channels": 8,
        "channel_multipliers": [1, 2],
        "layers_per_block": 1,
        "sample_rate": 16_000,
        "n_fft": 256,
        "hop_length": 64,
    },
}
VOCODER: dict[str, Any] = {
    "num_mels": 16,
    "upsample_initial_channel": 16,
    "upsample_rates": [8, 4, 2],
    "upsample_kernel_sizes": [16, 8, 4],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3]],
}
LAYOUTS = {
    "AutoencoderOobleck": Layout(48_000, 2, 48, 4),
    "AutoencoderSAME": Layout(16_000, 2, 128, 6),
    "LongCatAudioDiTVae": Layout(24_000, 1, 64, 4),
    "AutoencoderKLMiniMaxH3Audio": Layout(32_000, 1, 20, 4),
    "AutoencoderKLKVAEAudio": Layout(48_000, 1, 30, 4),
    "Cosmos3AVAEAudioTokenizer": Layout(48_000, 2, 40, 4),
    "MMAudioVAE": Layout(16_000, 1, 128, 4),
}
EVERY = tuple(CONFIGURATIONS)
SEED = 1


def save(name: str, configuration: dict[str, Any], folder: Path) -> None:
    """As the package writes it, with values in what its classes begin with as zeros."""
    torch.manual_seed(0)
    model = getattr(diffusers, name)(**configuration)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diffusers")
    for name, configuration in CONFIGURATIONS.items():
        save(name, configuration, path / name)
    save("MMAudioVocoder", VOCODER, path / "MMAudioVocoder")
    return path


def made(folders: Path, name: str) -> Diffusers:
    return Diffusers(
        weights=folders, subfolder=name, vocoder="MMAudioVocoder" if name == "MMAudioVAE" else ""
    )


def of_package(folders: Path, name: str) -> Any:
    """Without `from_pretrained`, which for one of the classes needs the package accelerate."""
    build = getattr(diffusers, name)
    model = build.from_config(build.load_config(folders / name))
    model.load_state_dict(load_file(folders / name / WEIGHTS))
    return model.eval()


def direct(folders: Path, name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The package's own calls: audio to a mean and a sample, and latent to audio."""
    model, vocoder = (of_package(folders, one) for one in (name, "MMAudioVocoder"))

    def encode(audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        seeded = torch.Generator().manual_seed(SEED)
        if name == "AutoencoderSAME":
            return model.encode(audio).latents, None
        if name == "LongCatAudioDiTVae":
            mean = model.encode(audio, sample_posterior=False).latents
            return tuple(
                one * model.config.scale
                for one in (mean, model.encode(audio, generator=seeded).latents)
            )
        if name == "Cosmos3AVAEAudioTokenizer":
            model.register_to_config(normalize_volume=False)
        latent = model.encode(audio[:, 0] if name == "MMAudioVAE" else audio).latent_dist
        return latent.mean, latent.sample(seeded)

    def decode(z: torch.Tensor) -> Any:
        if name == "LongCatAudioDiTVae":
            return model.decode(z / model.config.scale).sample
        if name == "MMAudioVAE":
            return vocoder(model.decode(z).sample).sample
        decoded = model.decode(z)
        return decoded if isinstance(decoded, torch.Tensor) else decoded.sample

    return encode, decode


def quiet_noise(layout: Layout, length: int) -> AudioBatch:
    generator = torch.Generator().manual_seed(0)
    samples = 0.1 * torch.randn(1, layout.channels, length, generator=generator)
    return AudioBatch(samples, torch.tensor([length]), layout.sample_rate)


@pytest.mark.parametrize("name", EVERY)
def test_every_class_passes_the_codec_checks(folders: Path, name: str) -> None:
    check_codec(made(folders, name), seconds=1000 / LAYOUTS[name].sample_rate)


@pytest.mark.parametrize("name", EVERY)
def test_posterior_and_audio_are_those_of_the_package(folders: Path, name: str) -> None:
    codec, layout = made(folders, name), LAYOUTS[name]
    length = 12 * layout.hop - 3
    audio = quiet_noise(layout, length)
    encoded = codec.encode(audio, codec.points[0])
    decoded = codec.decode(codec.decoder_input(encoded, MEAN, [0]))
    encode, decode = direct(folders, name)
    with torch.inference_mode():
        mean, drawn = encode(torch.nn.functional.pad(audio.samples, (0, 3)))
        expected = decode(mean)
    payload = encoded.payload
    assert isinstance(payload, Posterior)
    torch.testing.assert_close(payload.mean, mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoded.samples, expected[..., :length], atol=1e-5, rtol=1e-5)
    assert float(decoded.samples.std()) > 1e-4
    assert expected.shape[-1] == 12 * layout.hop
    if drawn is None:
        assert payload.scale is None
        assert rates(encoded)[RateKind.KL][0].status is Status.UNDEFINED
        assert [one.name for one in codec.variants] == ["mean"]
    else:
        assert payload.scale is not None
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(SEED))
        sample = payload.mean + payload.scale * noise
        torch.testing.assert_close(sample, drawn, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_the_card_is_what_config_json_says(folders: Path, name: str) -> None:
    codec, layout = made(folders, name), LAYOUTS[name]
    assert codec.config.layout == layout
    assert codec.info.sample_rates == (layout.sample_rate,)
    assert codec.info.channels == (layout.channels,)
    assert codec.info.frame_rate == layout.sample_rate / layout.hop
    assert codec.info.headline is (None if name == "AutoencoderSAME" else RateKind.KL)
    assert codec.info.citation


def test_the_oldest_name_is_that_of_one_class(folders: Path) -> None:
    """Same keys: version, hash of the weights, point."""
    place = folders / "AutoencoderOobleck"
    one, other = Oobleck(weights=place), Diffusers(weights=place)
    for key in ("name", "version", "weights_sha256", "headline", "details"):
        assert getattr(one.info, key) == getattr(other.info, key)
    assert one.points == other.points
    config = f"config {file_sha256(place / CONFIG)[:16]}"
    version = f"diffusers {diffusers.__version__}, {config}, adapter {ADAPTER}"
    assert one.info.version == f"{version}, posterior {VERSION}"
    with pytest.raises(WeightsError, match=r"codec 'oobleck': .* is of 'AutoencoderSAME'"):
        Oobleck(weights=folders / "AutoencoderSAME")


def test_a_level_is_neither_changed_nor_taken_from_the_neighbours(folders: Path) -> None:
    """What the package makes of `normalize_volume`."""
    codec = made(folders, "Cosmos3AVAEAudioTokenizer")
    content = json.loads((folders / "Cosmos3AVAEAudioTokenizer" / CONFIG).read_text())
    assert content["normalize_volume"] is True
    audio = quiet_noise(codec.config.layout, 400).samples
    pair = AudioBatch(torch.cat([audio, 0.1 * audio]), torch.tensor([400, 400]), 48_000)
    quiet = AudioBatch(0.1 * audio, torch.tensor([400]), 48_000)
    both, alone = (codec.encode(one, codec.points[0]).payload for one in (pair, quiet))
    assert isinstance(both, Posterior)
    assert isinstance(alone, Posterior)
    torch.testing.assert_close(both.mean[1:], alone.mean)
    assert not torch.allclose(both.mean[0], both.mean[1])


def changed(folders: Path, name: str, target: Path, change: dict[str, Any]) -> Path:
    """A copy of a model whose `config.json` says something else."""
    shutil.copytree(folders / name, target)
    content = json.loads((target / CONFIG).read_text()) | change
    (target / CONFIG).write_text(json.dumps(content))
    return target


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("AutoencoderOobleck", {"decoder_input_channels": 5}),
        ("AutoencoderOobleck", {"audio_channels": 1}),
        ("AutoencoderOobleck", {"downsampling_ratios": [2, 4, 8]}),
        ("AutoencoderSAME", {"encoder_strides": [4]}),
        ("AutoencoderSAME", {"dim_heads": 5}),
        ("AutoencoderSAME", {"use_differential_attention": False}),
        ("LongCatAudioDiTVae", {"downsampling_ratio": 2048}),
        ("LongCatAudioDiTVae", {"downsampling_ratio": 32}),
        ("LongCatAudioDiTVae", {"encoder_latent_dim": 16}),
        ("LongCatAudioDiTVae", {"act_fn": "relu"}),
        ("AutoencoderKLMiniMaxH3Audio", {"decoder_rates": [5, 2, 4]}),
        ("AutoencoderKLMiniMaxH3Audio", {"sampling_rate": "32000"}),
        ("AutoencoderKLKVAEAudio", {"decoder_rates": [5, 3, 4]}),
        ("AutoencoderKLKVAEAudio", {"encoder_rates": [1024, 1024, 1024]}),
        ("AutoencoderKLKVAEAudio", {"attn_num_heads": 3}),
        ("Cosmos3AVAEAudioTokenizer", {"hop_size": 80}),
        ("Cosmos3AVAEAudioTokenizer", {"stereo": False}),
        ("Cosmos3AVAEAudioTokenizer", {"latent_mean": 1.0}),
        ("Cosmos3AVAEAudioTokenizer", {"encoder_enabled": False}),
        ("Cosmos3AVAEAudioTokenizer", {"enc_dim": 65_536}),
        ("Cosmos3AVAEAudioTokenizer", {"padding_mode": "none"}),
    ],
)
def test_a_configuration_that_contradicts_itself_or_the_weights_is_one_sentence(
    folders: Path, tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    with pytest.raises(WeightsError, match=r"^codec 'diffusers': |does not fit codec") as found:
        Diffusers(weights=changed(folders, name, tmp_path / "model", change))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("AutoencoderKLLTX2Audio", "a mel spectrogram that diffusers does not compute"),
        ("AutoencoderSame", "did you mean 'AutoencoderSAME'"),
        ("AutoencoderKL", "which is not run: it codes images"),
        ("UNet2DModel", "classes that are run: AutoencoderOobleck, "),
        ("", "names no class"),
        (["AutoencoderSAME"] * 1000, "did you mean|classes that are run"),
    ],
)
def test_another_class_is_one_sentence(
    folders: Path, tmp_path: Path, named: object, sentence: str
) -> None:
    change = {"_class_name": named}
    with pytest.raises(WeightsError, match=sentence) as found:
        Diffusers(weights=changed(folders, "AutoencoderSAME", tmp_path / "model", change))
    assert len(str(found.value)) < 600


def test_a_class_that_the_package_does_not_have_is_one_sentence(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", SimpleNamespace(__version__="0.30.0"))
    with pytest.raises(
        WeightsError, match=r"diffusers 0\.30\.0 has no AutoencoderSAME; install a newer release"
    ):
        Diffusers(weights=folders / "AutoencoderSAME")


def test_a_vocoder_is_named_where_one_is_needed_and_nowhere_else(folders: Path) -> None:
    with pytest.raises(CodecError, match="MMAudioVAE needs the option vocoder"):
        Diffusers(weights=folders, subfolder="MMAudioVAE")
    with pytest.raises(CodecError, match="AutoencoderSAME takes no vocoder"):
        Diffusers(weights=folders, subfolder="AutoencoderSAME", vocoder="MMAudioVocoder")
    with pytest.raises(WeightsError, match="is of 'MMAudioVAE'; did you mean 'MMAudioVocoder'"):
        Diffusers(weights=folders, subfolder="MMAudioVAE", vocoder="MMAudioVAE")
    with pytest.raises(WeightsError, match="vocoder of an MMAudioVAE"):
        Diffusers(weights=folders, subfolder="MMAudioVocoder")


def test_a_run_that_may_download_fetches_both_models(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def folder(model: HubModel) -> Path | None:
        return folders / model.subfolder if model.subfolder in fetched else None

    monkeypatch.setattr(HubModel, "folder", folder)
    monkeypatch.setattr(HubModel, "fetch", lambda model, say: fetched.append(model.subfolder))
    options = {"weights": "a/b", "subfolder": "MMAudioVAE", "vocoder": "MMAudioVocoder"}
    spec = BenchmarkSpec.model_validate(
        {
            "name": "fetched",
            "corpus": {"kind": "embedded"},
            "protocol": {"sample_rate": 16_000, "channels": "mono"},
            "metrics": {"default": ["si_sdr"]},
            "systems": [{"codec": "diffusers", "options": options}],
        }
    )
    (system,) = build_systems(spec, allow_code=False, fetching=lambda said: None)
    assert fetched == ["MMAudioVAE", "MMAudioVocoder"]
    assert system.codec is not None
    assert system.codec.info.details["weights_from"] == "https://huggingface.co/a/b at no commit"


def test_a_tensor_that_nothing_fills_is_one_sentence(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Same, "complete", lambda self, model: None)
    with pytest.raises(WeightsError, match=r"has '.*inv_freq', which no checkpoint holds"):
        Diffusers(weights=folders / "AutoencoderSAME")
