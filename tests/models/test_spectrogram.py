"""The `spectrogram` backbone: magnitudes there and back, and a phase that is a function of them."""

import pytest
import torch

from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectrogramConfig
from rdbench.models.spectrogram import SpectrogramDecoder

CONFIG = SpectrogramConfig(spectrum_hop=20, window=64, widths=(4, 6), strides=(1, 2), rounds=4)


def model(channels: int = 1) -> Autoencoder:
    torch.manual_seed(0)
    bottleneck = GaussianConfig(channels=3)
    return Autoencoder(
        AutoencoderConfig(
            sample_rate=8000, channels=channels, backbone=CONFIG, bottleneck=bottleneck
        )
    )


def test_true_magnitudes_with_their_own_phase_are_the_audio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = model().decoder
    assert isinstance(decoder, SpectrogramDecoder)
    audio = 0.3 * torch.randn(2, 1, 400)
    monkeypatch.setattr(decoder, "_magnitude", lambda _: decoder.stft(audio).abs())
    torch.testing.assert_close(decoder(torch.zeros(2, 10, 3), phase_of=audio), audio)
    # Griffin-Lim has no phase to go by, and finds one whose magnitudes are near.
    decoder.rounds = 100
    found = decoder(torch.zeros(2, 10, 3))
    error = (decoder.stft(found).abs() - decoder.stft(audio).abs()).norm()
    assert float(error / decoder.stft(audio).norm()) < 0.3
    assert not torch.allclose(found, audio, atol=0.05)


def test_training_sees_the_phase_of_the_audio_and_reaches_every_parameter() -> None:
    net = model(channels=2)
    audio = 0.1 * torch.randn(2, 2, 399)
    made = net(audio)
    assert made.audio.shape == audio.shape
    (made.audio.square().mean() + made.scale.mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        whole = torch.nn.functional.pad(audio, (0, 1))
        assert isinstance(net.decoder, SpectrogramDecoder)
        again = net.decoder(net.posterior(audio)[0].transpose(1, 2), phase_of=whole)
        torch.testing.assert_close(again[..., :399], net(audio, 1.0).audio)


def test_configurations_that_have_no_inverse_are_refused() -> None:
    with pytest.raises(ValueError, match="as many layers"):
        SpectrogramConfig(widths=(4,))
    with pytest.raises(ValueError, match="once for each layer"):
        SpectrogramConfig(window=500)
    with pytest.raises(ValueError, match="less than 2 frames"):
        SpectrogramConfig(window=1024)
