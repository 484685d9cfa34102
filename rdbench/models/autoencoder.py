"""An autoencoder: a backbone around a bottleneck, built from one configuration.

Inside, latents are (clips, frames, channels); the public methods give and take
(clips, channels, frames), as the types of rdbench do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.bottleneck import GaussianBottleneck, RvqBottleneck
from rdbench.models.config import (
    AutoencoderConfig,
    DacConfig,
    GaussianConfig,
    RvqConfig,
    SpectrogramConfig,
    StarConfig,
)
from rdbench.models.dac_backbone import DacDecoder, DacEncoder
from rdbench.models.packages import older_weight_norm
from rdbench.models.spectral import SpectralDecoder, SpectralEncoder
from rdbench.models.spectrogram import SpectrogramDecoder, SpectrogramEncoder
from rdbench.models.star_backbone import StarDecoder, StarEncoder
from rdbench.models.vq import VqBottleneck


class Pass(NamedTuple):
    """What one training pass gives.

    audio: the reconstruction, shaped as the input. mean, scale: the posterior, (clips, channels,
    frames), None for a quantizer. commitment, codebook: a quantizer's losses, zero for a Gaussian.
    """

    audio: torch.Tensor
    mean: torch.Tensor | None
    scale: torch.Tensor | None
    commitment: torch.Tensor
    codebook: torch.Tensor


class Autoencoder(nn.Module):
    """The model that `config` describes, with fresh weights from torch's global generator."""

    encoder: SpectralEncoder | DacEncoder | SpectrogramEncoder | StarEncoder
    decoder: SpectralDecoder | DacDecoder | SpectrogramDecoder | StarDecoder
    bottleneck: GaussianBottleneck | RvqBottleneck | VqBottleneck

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        with older_weight_norm():
            self._build(config)

    def _build(self, config: AutoencoderConfig) -> None:
        latents = config.bottleneck.channels
        if isinstance(config.backbone, DacConfig):
            self.encoder = DacEncoder(config.backbone)
            self.decoder = DacDecoder(config.backbone, latents)
        elif isinstance(config.backbone, StarConfig):
            self.encoder = StarEncoder(config.backbone, config.channels)
            self.decoder = StarDecoder(config.backbone, config.channels, latents)
        elif isinstance(config.backbone, SpectrogramConfig):
            self.encoder = SpectrogramEncoder(config.backbone, config.channels)
            self.decoder = SpectrogramDecoder(config.backbone, config.channels, latents)
        else:
            self.encoder = SpectralEncoder(config.backbone, config.channels)
            self.decoder = SpectralDecoder(config.backbone, config.channels, latents)
        features = self.encoder.features
        if isinstance(config.bottleneck, GaussianConfig):
            self.bottleneck = GaussianBottleneck(config.bottleneck, features)
        elif isinstance(config.bottleneck, RvqConfig):
            self.bottleneck = RvqBottleneck(config.bottleneck, features)
        else:
            self.bottleneck = VqBottleneck(config.bottleneck, features)

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())

    def frames(self, length: int) -> int:
        """Frames that stand for `length` samples: the last one may be partly padding."""
        return -(-length // self.config.hop)

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale, (clips, channels, frames) each, of audio (clips, channels, time)."""
        assert isinstance(self.bottleneck, GaussianBottleneck), "a quantizer has no posterior"
        mean, scale = self.bottleneck(self.encoder(self._whole(audio)))
        return mean.transpose(1, 2), scale.transpose(1, 2)

    def codes(self, audio: torch.Tensor, codebooks: int | None = None) -> torch.Tensor:
        """Codes int64 (clips, codebooks, frames) of audio (clips, channels, time)."""
        assert not isinstance(self.bottleneck, GaussianBottleneck), "a Gaussian has no codes"
        latents = self.bottleneck(self.encoder(self._whole(audio)))
        return self.bottleneck.quantize(latents, codebooks)[1]

    def dequantize(self, codes: torch.Tensor) -> torch.Tensor:
        """The latent (clips, channels, frames) of codes (clips, codebooks, frames)."""
        assert not isinstance(self.bottleneck, GaussianBottleneck), "a Gaussian has no codes"
        return self.bottleneck.dequantize(codes).transpose(1, 2)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Audio (clips, channels, frames · hop) of a latent (clips, channels, frames)."""
        audio: torch.Tensor = self.decoder(latent.transpose(1, 2))
        return audio

    def latent_mean(self, audio: torch.Tensor) -> torch.Tensor:
        """μ, or the latent before quantization, (clips, channels, frames)."""
        found = self.bottleneck(self.encoder(self._whole(audio)))
        mean: torch.Tensor = found[0] if isinstance(found, tuple) else found
        return mean.transpose(1, 2)

    def forward(
        self,
        audio: torch.Tensor,
        passthrough: float = 0.0,
        latent_noise: float = 0.0,
        replayed: torch.Tensor | None = None,
    ) -> Pass:
        """One training pass; randomness comes from torch's global generator.

        passthrough: probability, for each clip, that the bottleneck is bypassed (the decoder sees
        the mean without noise, or the latent without quantization).
        latent_noise: standard deviation of noise that is added to what the decoder sees.
        replayed: latents (clips, channels, frames) that the decoder sees as they are, in place of
        those of the last clips.
        """
        features = self.encoder(self._whole(audio))
        zero = torch.zeros((), device=audio.device)
        mean = scale = None
        if isinstance(self.bottleneck, GaussianBottleneck):
            clean, deviation = self.bottleneck(features)
            latent = clean + deviation * torch.randn_like(clean)
            mean, scale = clean.transpose(1, 2), deviation.transpose(1, 2)
            commitment = codebook = zero
        else:
            clean = self.bottleneck(features)
            latent, _, commitment, codebook = self.bottleneck.quantize(clean)
        if passthrough > 0.0:
            bypass = torch.rand(clean.shape[0], 1, 1, device=clean.device) < passthrough
            latent = torch.where(bypass, clean, latent)
        if latent_noise > 0.0:
            latent = latent + latent_noise * torch.randn_like(latent)
        if replayed is not None:
            own = latent[: len(latent) - len(replayed)]
            latent = torch.cat([own, replayed.transpose(1, 2)])
        if isinstance(self.decoder, SpectrogramDecoder):
            out = self.decoder(latent, phase_of=self._whole(audio))
        else:
            out = self.decoder(latent)
        out = out[..., : audio.shape[-1]]
        return Pass(out, mean, scale, commitment, codebook)

    def _whole(self, audio: torch.Tensor) -> torch.Tensor:
        """Zero-pads the end to whole frames."""
        return F.pad(audio, (0, -audio.shape[-1] % self.config.hop))
