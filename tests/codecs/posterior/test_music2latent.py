"""The music2latent adapter, on seeded weights in the layout in which its authors publish."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rdbench.codecs.posterior.music2latent import FADE, FRAME, Music2Latent
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.types import MEAN, AudioBatch, CodecError, Posterior, WeightsError

models = pytest.importorskip(
    "music2latent.models", reason="pip install 'rdbench[music2latent]'", exc_type=ImportError
)
inference = pytest.importorskip("music2latent.inference")

# The package has the sizes of its one model as constants; layers are narrower here.
NARROW = {
    "base_channels": 8,
    "multipliers_list": [1, 1, 1, 2, 2],
    "bottleneck_base_channels": 32,
    "num_bottleneck_layers": 1,
    "layers_list": [1, 1, 1, 1, 1],
    "cond_channels": 16,
    "heads": 2,
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NARROW.items():
        monkeypatch.setattr(models, name, value)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    model = models.UNet()
    with torch.no_grad():  # much of a new model is zeros
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    state = model.state_dict()
    beside = {"gen_state_dict": state, "ema_state_dict": {"a": torch.ones(1)}, "it": 3}
    torch.save(beside, tmp_path / "music2latent.pt")
    return tmp_path


def decoded(codec: Music2Latent, audio: AudioBatch) -> AudioBatch:
    encoded = codec.encode(audio, codec.points[0])
    return codec.decode(codec.decoder_input(encoded, MEAN, [0] * audio.clips))


def test_it_passes_the_codec_checks(weights: Path) -> None:
    check_codec(Music2Latent(weights=weights), seconds=0.3)


@pytest.mark.parametrize("steps", [1, 3])
def test_latent_and_audio_are_those_of_the_package(steps: int, weights: Path) -> None:
    codec = Music2Latent(weights=weights / "music2latent.pt", steps=steps, seed=5)
    audio = example_audio(codec, seconds=0.4)
    clip, length = 1, int(audio.lengths[1])
    frames = -(-(FADE + length) // FRAME)
    padded = torch.zeros(1, FRAME * frames + FADE)
    padded[0, FADE : FADE + length] = audio.samples[clip, 0, :length]
    trainer = SimpleNamespace(gen=models.UNet())
    content = torch.load(weights / "music2latent.pt", weights_only=True)
    trainer.gen.load_state_dict(content["gen_state_dict"], strict=False)
    latent = inference.encode_audio_inference(padded, trainer, 44_100 * 60, 1, device="cpu")
    torch.manual_seed(5)
    expected = inference.decode_latent_inference(
        latent, trainer, 44_100 * 60, 1, diffusion_steps=steps, device="cpu"
    )
    encoded = codec.encode(audio, codec.points[0])
    assert isinstance(encoded.payload, Posterior)
    assert encoded.payload.scale is None
    assert int(encoded.payload.frames[clip]) == latent.shape[-1] == frames
    mean = encoded.payload.mean[clip, :, :frames]
    torch.testing.assert_close(mean, latent[0], atol=1e-4, rtol=1e-5)
    assert mean.std() > 0.1
    made = decoded(codec, audio).samples[clip, 0, :length]
    torch.testing.assert_close(made, expected[0, FADE : FADE + length], atol=1e-5, rtol=0)
    assert made.std() > 1e-4


def test_the_decoders_noise_comes_from_the_seed_alone(weights: Path) -> None:
    codec = Music2Latent(weights=weights)
    audio = example_audio(codec, seconds=0.2)
    torch.manual_seed(1)
    first = decoded(codec, audio).samples
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == drawn
    assert torch.equal(decoded(codec, audio).samples, first)
    other = decoded(Music2Latent(weights=weights, seed=1), audio).samples
    assert not torch.allclose(other, first, atol=1e-4)


@pytest.mark.parametrize(("length", "frames"), [(1, 1), (2560, 1), (2561, 2), (6656, 2)])
def test_every_sample_of_a_clip_is_in_a_whole_frame(
    length: int, frames: int, weights: Path
) -> None:
    codec = Music2Latent(weights=weights)
    audio = AudioBatch(torch.full((1, 1, length), 0.1), torch.tensor([length]), 44_100)
    payload = codec.encode(audio, codec.points[0]).payload
    assert isinstance(payload, Posterior)
    assert payload.frames.tolist() == [frames]
    assert payload.frame_rate == pytest.approx(10.77, abs=0.01)


def test_what_is_wrong_with_weights_and_options_is_said(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="needs the option weights"):
        Music2Latent()
    with pytest.raises(CodecError, match="steps is 0; give one from 1 to 100"):
        Music2Latent(weights=weights, steps=0)
    with pytest.raises(WeightsError, match="cannot be read"):
        Music2Latent(weights=tmp_path / "absent.pt")
    content = torch.load(weights / "music2latent.pt", weights_only=True)
    del content["gen_state_dict"]["conv_inp.bias"]
    torch.save(content, tmp_path / "less.pt")
    with pytest.raises(WeightsError, match=r"1 missing \(first 'conv_inp.bias'\)"):
        Music2Latent(weights=tmp_path / "less.pt")
