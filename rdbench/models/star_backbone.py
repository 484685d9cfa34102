"""The `star` backbone: strided residual Snake blocks, and selective scans at the frame rate.

After the autoencoder of STAR-VAE (Liu et al. 2026, arXiv 2606.23064) as far as it is reported:
convolutions down to the frame rate and up again, and bidirectional Mamba layers, two in the encoder
and two in the decoder. What is not reported is as usual for such codecs: residual blocks of
a dilated convolution of 7 and one of 1 with Snake before each (Kumar et al. 2023, arXiv
2306.06546), strides by convolutions of twice their length. There is no weight normalization.

Snake (Ziyin, Hartwig & Ueda 2020, arXiv 2006.08195) is x + sin²(α x) / α, α > 0 of each channel.

A stride of s pads s samples in all, so that n · hop samples give n frames and back, whatever the
strides and for any n.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.config import StarConfig
from rdbench.models.selective_scan import BidirectionalScan

_KERNEL = 7


class Snake(nn.Module):
    """x + sin²(α x) / α on (clips, channels, time); α is kept as its logarithm, and starts at 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The shape of `x`."""
        alpha = self.log_alpha.exp()[:, None]
        return x + (alpha * x).sin().square() * alpha.reciprocal()


class ResidualBlock(nn.Module):
    """Adds what two convolutions make of (clips, channels, time); seven samples, spread apart."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            Snake(channels),
            _convolution(channels, channels, dilation),
            Snake(channels),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The shape of `x`."""
        out: torch.Tensor = self.net(x)
        return x + out


class Down(nn.Module):
    """(clips, channels, time · stride) to (clips, channels, time)."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.pad = stride // 2, stride - stride // 2
        self.conv = nn.Conv1d(channels, out_channels, 2 * stride, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every output is of two strides of samples, centred on its own."""
        out: torch.Tensor = self.conv(F.pad(x, self.pad))
        return out


class Up(nn.Module):
    """(clips, channels, time) to (clips, channels, time · stride): the reverse of `Down`."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.ConvTranspose1d(channels, out_channels, 2 * stride, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The stride too many is cut off where `Down` pads it."""
        out: torch.Tensor = self.conv(x)
        return out[..., self.stride // 2 :][..., : x.shape[-1] * self.stride]


class StarEncoder(nn.Module):
    """(clips, channels, frames · hop) to features (clips, frames, features)."""

    def __init__(self, config: StarConfig, channels: int) -> None:
        super().__init__()
        self.features = config.widths[-1]
        layers: list[nn.Module] = [_convolution(channels, config.widths[0])]
        for (width, wider), stride in zip(pairwise(config.widths), config.strides, strict=True):
            layers += [
                *_residual(width, config.dilations),
                Snake(width),
                Down(width, wider, stride),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.scans = _scans(config)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Features of `audio`, whose length must be a multiple of the hop."""
        out: torch.Tensor = self.scans(self.convolutions(audio).transpose(1, 2))
        return out


class StarDecoder(nn.Module):
    """Latents (clips, frames, latents) to (clips, channels, frames · hop)."""

    def __init__(self, config: StarConfig, channels: int, latents: int) -> None:
        super().__init__()
        self.embed = nn.Linear(latents, config.widths[-1])
        self.scans = _scans(config)
        layers: list[nn.Module] = []
        widths, strides = config.widths[::-1], config.strides[::-1]
        for (wider, width), stride in zip(pairwise(widths), strides, strict=True):
            layers += [Snake(wider), Up(wider, width, stride), *_residual(width, config.dilations)]
        layers += [Snake(widths[-1]), _convolution(widths[-1], channels)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Audio of frames · hop samples."""
        hidden = self.scans(self.embed(latents)).transpose(1, 2)
        audio: torch.Tensor = self.convolutions(hidden)
        return audio.float()


def _convolution(channels: int, out_channels: int, dilation: int = 1) -> nn.Conv1d:
    """Of seven samples, that keeps the length."""
    pad = dilation * (_KERNEL // 2)
    return nn.Conv1d(channels, out_channels, _KERNEL, dilation=dilation, padding=pad)


def _residual(width: int, dilations: Sequence[int]) -> list[nn.Module]:
    return [ResidualBlock(width, dilation) for dilation in dilations]


def _scans(config: StarConfig) -> nn.Sequential:
    width = config.widths[-1]
    layers = [
        BidirectionalScan(width, config.expansion, config.state, tied=config.tied)
        for _ in range(config.layers)
    ]
    return nn.Sequential(*layers, nn.LayerNorm(width))
