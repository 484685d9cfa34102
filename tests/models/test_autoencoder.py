"""Autoencoders: lengths, shapes and what training sees."""

import pytest
import torch

from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import (
    AutoencoderConfig,
    DacConfig,
    GaussianConfig,
    RvqConfig,
    SpectralConfig,
    SpectrogramConfig,
    StarConfig,
)

SPECTRAL = SpectralConfig(hop=40, width=16, encoder_layers=1, decoder_layers=1)
DAC = DacConfig(
    encoder_width=4, encoder_rates=(2, 5, 4), decoder_width=32, decoder_rates=(4, 5, 2), features=16
)
STAR = StarConfig(strides=(5, 8), widths=(4, 6, 8), dilations=(1, 3), layers=1, state=2)
SPECTROGRAM = SpectrogramConfig(spectrum_hop=20, window=64, widths=(4, 6), strides=(1, 2), rounds=2)
GAUSSIAN = GaussianConfig(channels=6)


def build(**fields: object) -> Autoencoder:
    torch.manual_seed(0)
    values = {"sample_rate": 8000, "backbone": SPECTRAL, "bottleneck": GAUSSIAN} | fields
    return Autoencoder(AutoencoderConfig.model_validate(values))


@pytest.mark.parametrize("backbone", [SPECTRAL, DAC, SPECTROGRAM, STAR], ids=lambda one: one.kind)
@pytest.mark.parametrize("length", [1, 39, 40, 41, 399])
def test_frames_cover_the_clip_exactly(backbone: object, length: int) -> None:
    model = build(backbone=backbone).eval()
    frames = -(-length // 40)
    mean, scale = model.posterior(torch.randn(2, 1, length))
    assert mean.shape == scale.shape == (2, 6, frames)
    assert model.decode(mean).shape == (2, 1, frames * 40)
    assert model(torch.randn(2, 1, length)).audio.shape == (2, 1, length)


@pytest.mark.parametrize("backbone", [SPECTRAL, STAR], ids=["spectral", "star"])
def test_stereo_goes_through(backbone: object) -> None:
    model = build(channels=2, backbone=backbone).eval()
    audio = torch.randn(1, 2, 400)
    assert model.decode(model.posterior(audio)[0]).shape == (1, 2, 400)


def test_frame_rate_is_sample_rate_over_hop() -> None:
    assert AutoencoderConfig().frame_rate == 100.0
    assert (
        AutoencoderConfig(
            sample_rate=48_000,
            backbone=DacConfig(encoder_rates=(4, 5, 6, 10), decoder_rates=(10, 6, 5, 4)),
        ).frame_rate
        == 40.0
    )


def test_the_spectral_transform_inverts_itself() -> None:
    """Encoder spectrum into decoder head without a network between gives the audio back."""
    model = build(backbone=SPECTRAL)
    audio = 0.3 * torch.randn(2, 1, 800)
    parts = model.encoder._spectrum(audio)  # type: ignore[operator,union-attr]
    back = model.decoder._waveform(parts)  # type: ignore[operator,union-attr]
    # The first and the last hops see the window's taper, where compression loses digits.
    torch.testing.assert_close(back[..., 80:-80], audio[..., 80:-80], atol=2e-5, rtol=0)


def test_full_passthrough_sees_the_mean_without_noise() -> None:
    model = build()
    audio = 0.1 * torch.randn(2, 1, 400)
    torch.manual_seed(1)
    first = model(audio, 1.0).audio
    torch.manual_seed(2)
    second = model(audio, 1.0).audio
    assert torch.equal(first, second)
    torch.testing.assert_close(first, model.decode(model.posterior(audio)[0]))
    torch.manual_seed(1)
    assert not torch.allclose(model(audio, 0.0).audio, first)


def test_partial_passthrough_bypasses_whole_clips() -> None:
    torch.manual_seed(0)
    model = build()
    audio = (0.1 * torch.randn(1, 1, 400)).expand(64, 1, 400)
    torch.manual_seed(3)
    clean = model.decode(model.posterior(audio[:1])[0])
    # A batch rounds otherwise than a clip alone, by 2e-6; the noise of a sample moves audio by 2.
    bypassed = [torch.allclose(out, clean[0], atol=1e-5) for out in model(audio, 0.5).audio]
    assert 16 <= sum(bypassed) <= 48


def test_passthrough_of_a_quantizer_bypasses_it() -> None:
    model = build(bottleneck=RvqConfig(channels=6, codebooks=2, codebook_size=4)).eval()
    audio = 0.1 * torch.randn(1, 1, 400)
    latent = model.bottleneck(model.encoder(audio))
    assert isinstance(latent, torch.Tensor)
    torch.testing.assert_close(model(audio, 1.0).audio, model.decode(latent.transpose(1, 2)))


@pytest.mark.parametrize(
    ("backbone", "bottleneck"),
    [
        (SPECTRAL, GAUSSIAN),
        (SPECTRAL, RvqConfig(channels=6, codebooks=2, codebook_size=4)),
        (STAR, GAUSSIAN),
    ],
)
def test_every_parameter_is_trained(backbone: object, bottleneck: object) -> None:
    model = build(backbone=backbone, bottleneck=bottleneck)
    made = model(0.1 * torch.randn(2, 1, 400))
    loss = made.audio.square().mean() + made.commitment + made.codebook
    if made.scale is not None:
        loss = loss + made.scale.mean()
    loss.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []


def test_wrong_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="equal, nonempty products"):
        DacConfig(encoder_rates=(2, 4), decoder_rates=(4, 4))
    with pytest.raises(ValueError, match="mono"):
        AutoencoderConfig(channels=2, backbone=DAC)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        GaussianConfig(channels=0)
    with pytest.raises(ValueError, match="odd"):
        SpectralConfig(kernel=4)
    with pytest.raises(ValueError, match="one more than strides"):
        StarConfig(strides=(4, 4), widths=(8, 16))
