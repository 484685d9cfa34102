"""The `dac` backbone: the encoder and decoder of the `descript-audio-codec` package.

Kumar et al. 2023 (arXiv 2306.06546); the backbone of the target-KL paper. Both are wrapped so that
n · hop samples give n frames and back, whatever the strides (an odd stride alone would lose or
gain samples).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.config import DacConfig


class DacEncoder(nn.Module):
    """(clips, 1, frames · hop) to features (clips, frames, features)."""

    def __init__(self, config: DacConfig) -> None:
        from dac.model.dac import Encoder

        super().__init__()
        self.features = config.features
        self.hop = config.hop
        self.net = Encoder(config.encoder_width, list(config.encoder_rates), config.features)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Features of `audio`, whose length must be a multiple of the hop."""
        frames = audio.shape[-1] // self.hop
        return _fit(self.net(audio), frames).transpose(1, 2)


class DacDecoder(nn.Module):
    """Latents (clips, frames, latents) to (clips, 1, frames · hop)."""

    def __init__(self, config: DacConfig, latents: int) -> None:
        from dac.model.dac import Decoder

        super().__init__()
        self.hop = config.hop
        self.net = Decoder(latents, config.decoder_width, list(config.decoder_rates))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Audio of frames · hop samples."""
        audio: torch.Tensor = self.net(latents.transpose(1, 2))
        return _fit(audio, latents.shape[1] * self.hop).float()


def _fit(signal: torch.Tensor, length: int) -> torch.Tensor:
    """Cuts or zero-pads the end of the last dimension to `length`."""
    return F.pad(signal, (0, length - signal.shape[-1]))
