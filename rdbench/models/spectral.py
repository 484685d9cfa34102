"""The `spectral` backbone: STFT in, ConvNeXt blocks at the frame rate, inverse STFT out.

In the manner of Vocos (Siuzdak 2023, arXiv 2306.00814): nothing runs above the frame rate but
Fourier transforms, so that a second of audio costs little. Both sides see the power-compressed
complex spectrum, X·|X|^(c-1) (Braun & Tashev 2020, arXiv 2009.12286), whose dynamic range suits a
network; the decoder's output is expanded again before the inverse STFT.

The STFT is padded by (window - hop) / 2 on both sides, so that n frames stand for n · hop samples
exactly. Transforms run in float32 whatever the precision of the blocks.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.config import SpectralConfig

_FLOOR = 1e-8


class ConvNextBlock(nn.Module):
    """A residual block on (clips, frames, width): depthwise convolution, then a gated width."""

    def __init__(self, width: int, hidden: int, kernel: int, layers: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.gain = nn.Parameter(torch.full((width,), 1.0 / max(layers, 1)))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(clips, frames, width) to the same."""
        mixed = self.mix(hidden.transpose(1, 2)).transpose(1, 2)
        out: torch.Tensor = self.down(F.gelu(self.up(self.norm(mixed)), approximate="tanh"))
        return hidden + self.gain * out


def _blocks(config: SpectralConfig, layers: int) -> nn.Sequential:
    hidden = max(1, round(config.width * config.expansion))
    blocks = [ConvNextBlock(config.width, hidden, config.kernel, layers) for _ in range(layers)]
    return nn.Sequential(*blocks, nn.LayerNorm(config.width))


class _Transform(nn.Module):
    """Framing shared by both sides: window, hop and padding."""

    window: torch.Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.hop = config.hop
        self.size = config.hop * config.window_hops
        self.pad = (self.size - self.hop) // 2
        self.bins = self.size // 2 + 1
        self.compression = config.compression
        # On the CPU by name: on the meta device it would import seconds of torch for nothing.
        window = torch.hann_window(self.size, device="cpu")
        self.register_buffer("window", window, persistent=False)


class SpectralEncoder(_Transform):
    """(clips, channels, frames · hop) to features (clips, frames, width)."""

    def __init__(self, config: SpectralConfig, channels: int) -> None:
        super().__init__(config)
        self.features = config.width
        self.embed = nn.Linear(2 * self.bins * channels, config.width)
        self.blocks = _blocks(config, config.encoder_layers)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Features of `audio`, whose length must be a multiple of the hop."""
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = self._spectrum(audio.float())
        out: torch.Tensor = self.blocks(self.embed(spectrum))
        return out

    def _spectrum(self, audio: torch.Tensor) -> torch.Tensor:
        clips, channels, time = audio.shape
        flat = F.pad(audio.reshape(clips * channels, time), (self.pad, self.pad))
        frames = flat.unfold(-1, self.size, self.hop) * self.window
        spectrum = torch.fft.rfft(frames, norm="ortho")
        parts = _scaled(spectrum.real, spectrum.imag, self.compression - 1.0)
        parts = parts.reshape(clips, channels, frames.shape[1], 2 * self.bins)
        return parts.transpose(1, 2).reshape(clips, frames.shape[1], -1)


class SpectralDecoder(_Transform):
    """Latents (clips, frames, latents) to (clips, channels, frames · hop)."""

    envelope: torch.Tensor

    def __init__(self, config: SpectralConfig, channels: int, latents: int) -> None:
        super().__init__(config)
        self.channels = channels
        self.embed = nn.Linear(latents, config.width)
        self.blocks = _blocks(config, config.decoder_layers)
        self.head = nn.Linear(config.width, 2 * self.bins * channels)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Audio of frames · hop samples."""
        parts = self.head(self.blocks(self.embed(latents)))
        with torch.autocast(parts.device.type, enabled=False):
            return self._waveform(parts.float())

    def _waveform(self, parts: torch.Tensor) -> torch.Tensor:
        clips, frames, _ = parts.shape
        parts = parts.reshape(clips, frames, self.channels, 2, self.bins).transpose(1, 2)
        parts = _scaled(parts[..., 0, :], parts[..., 1, :], 1.0 / self.compression - 1.0)
        real, imaginary = parts.chunk(2, -1)
        spectrum = torch.complex(real, imaginary)
        pieces = torch.fft.irfft(spectrum, n=self.size, norm="ortho")
        pieces = (pieces * self.window).reshape(clips * self.channels, frames, self.size)
        audio = self._overlap_add(pieces) / self._envelope(frames, pieces)
        return audio.reshape(clips, self.channels, frames * self.hop)

    def _overlap_add(self, pieces: torch.Tensor) -> torch.Tensor:
        """(rows, frames, window) to (rows, frames · hop): the padding is cut off."""
        rows, frames, size = pieces.shape
        hops = size // self.hop
        split = pieces.reshape(rows, frames, hops, self.hop)
        total = frames + hops - 1
        added = sum(F.pad(split[:, :, k], (0, 0, k, total - frames - k)) for k in range(hops))
        assert isinstance(added, torch.Tensor)
        return added.reshape(rows, -1)[:, self.pad : self.pad + frames * self.hop]

    def _envelope(self, frames: int, like: torch.Tensor) -> torch.Tensor:
        squares = self.window.square().to(like).expand(1, frames, self.size)
        return self._overlap_add(squares).clamp_min(1e-3)


def _scaled(real: torch.Tensor, imaginary: torch.Tensor, exponent: float) -> torch.Tensor:
    """(…, bins) twice, times magnitude^exponent, side by side: (…, 2 · bins)."""
    real, imaginary = real.contiguous(), imaginary.contiguous()
    gain = (real * real + imaginary * imaginary + _FLOOR).pow(exponent / 2.0)
    return torch.cat([real * gain, imaginary * gain], dim=-1)
