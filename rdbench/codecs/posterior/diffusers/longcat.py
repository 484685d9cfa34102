"""LongCatAudioDiTVae: the waveform VAE of LongCat-AudioDiT (Meituan, 2026, arXiv:2603.29339).

The published model: 24 kHz mono, hop 2048 (11.72 frames/s), 64 channels.

`encode` of the package gives a sample, or the mean, divided by `scale` (0.71), for a diffusion
model whose latents shall have unit variance. The posterior is that of the encoder before it, σ =
softplus + 1e-4, and so is the KL to N(0, I), towards which the encoder was trained; the decoder is
called without the factor that would undo the division.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.codecs.posterior.diffusers.config import (
    Autoencoder,
    Channels,
    Layout,
    SampleRate,
    Strides,
    Width,
)

if TYPE_CHECKING:
    import torch

_SMALLEST_SCALE = 1e-4


class LongCat(Autoencoder):
    """`config.json` of a LongCatAudioDiTVae."""

    builds: ClassVar[str] = "LongCatAudioDiTVae"
    citation: ClassVar[str] = "Meituan LongCat Team: LongCat-AudioDiT, 2026, arXiv:2603.29339"

    in_channels: Channels
    channels: Width
    c_mults: Strides | None
    strides: Strides | None
    latent_dim: Width
    encoder_latent_dim: Width
    downsampling_ratio: Width
    sample_rate: SampleRate

    @property
    def layout(self) -> Layout:
        """Audio and latent."""
        hop = self.downsampling_ratio
        return Layout(self.sample_rate, self.in_channels, hop, self.latent_dim)

    def posterior(self, model: Any, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and σ."""
        import torch

        mean, scale = model.encoder(audio).chunk(2, dim=1)
        return mean, torch.nn.functional.softplus(scale) + _SMALLEST_SCALE

    def decode(self, model: Any, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        audio: torch.Tensor = model.decoder(z)
        return audio
