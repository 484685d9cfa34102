"""Bottlenecks: a diagonal Gaussian posterior, and residual vector quantization (`vq` has its own).

Gaussian, with the prior N(0, I), per latent element and in nats:

    KL(q ‖ p) = 1/2 (σ² + μ² - 1 - ln σ²)

The 1/2 belongs there; several public models log twice this number. Both bottlenecks own the
projection from the encoder's features to the latents under one name (`mean`), so that a quantized
model can start from a Gaussian one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.config import GaussianConfig, RvqConfig

if TYPE_CHECKING:
    from collections.abc import Callable

DEAD_NATS = 0.01
"""A channel whose KL is below this, in nats per frame, is dead: it has collapsed to the prior."""
_LOGVAR_RANGE = (-30.0, 20.0)
_SOFTPLUS_FLOOR = 1e-4


def kl_nats(mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, scale²) ‖ N(0, 1)) of every element, in nats; the shape of `mean`."""
    return 0.5 * (scale.square() + mean.square() - 1.0) - scale.log()


def scale_from(raw: torch.Tensor, kind: Literal["logvar", "softplus"]) -> torch.Tensor:
    """The standard deviation σ > 0 that a network's unbounded output stands for."""
    if kind == "logvar":
        return (raw.clamp(*_LOGVAR_RANGE) / 2.0).exp()
    return F.softplus(raw) + _SOFTPLUS_FLOOR


class GaussianBottleneck(nn.Module):
    """Features (clips, frames, features) to mean and scale, (clips, frames, channels) each."""

    def __init__(self, config: GaussianConfig, features: int) -> None:
        super().__init__()
        self.channels = config.channels
        self.kind = config.scale
        self.mean = nn.Linear(features, config.channels)
        self.scale = nn.Linear(features, config.channels)
        # Starts near σ = 0.37 under either parameterisation, less than the prior's 1.
        nn.init.zeros_(self.scale.weight)
        nn.init.constant_(self.scale.bias, -2.0 if config.scale == "logvar" else -0.8)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale in float32, so that a KL of them is exact enough in any precision."""
        return self.mean(features).float(), scale_from(self.scale(features).float(), self.kind)


class RvqBottleneck(nn.Module):
    """Features to the latents before quantization, and those to codes and back."""

    def __init__(self, config: RvqConfig, features: int) -> None:
        from dac.nn.quantize import ResidualVectorQuantize

        super().__init__()
        self.channels = config.channels
        self.codebooks = config.codebooks
        self.mean = nn.Linear(features, config.channels)
        self.quantizer = ResidualVectorQuantize(
            config.channels,
            config.codebooks,
            config.codebook_size,
            config.codebook_dim,
            config.dropout,
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The latents before quantization, (clips, frames, channels), float32."""
        projected: torch.Tensor = self.mean(features).float()
        return projected

    def quantize(
        self, latents: torch.Tensor, codebooks: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Quantized latents, codes (clips, codebooks, frames), commitment and codebook loss.

        The quantizer compares distances, so it runs in float32 in any precision.
        """
        with torch.autocast(latents.device.type, enabled=False):
            z, codes, _, commitment, codebook = self.quantizer(
                latents.float().transpose(1, 2), codebooks
            )
        return z.transpose(1, 2), codes, commitment, codebook

    def dequantize(self, codes: torch.Tensor) -> torch.Tensor:
        """Latents (clips, frames, channels) of codes (clips, codebooks, frames)."""
        decode: Callable[..., tuple[torch.Tensor, ...]] = self.quantizer.from_codes
        return decode(codes)[0].transpose(1, 2)
