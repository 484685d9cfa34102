"""Codecs whose latents can be listened to with a known answer, named in specs as code."""

from __future__ import annotations

import math

import numpy as np
import torch

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.latent import pitch

RATE, HOP = 8000, 8


class Frames(PosteriorCodec):
    """Linear and lossless: the latent of a frame is its samples, times ten; σ is 0.1."""

    def __init__(self, *, points: object = None, scale: bool = True) -> None:
        super().__init__(
            name="frames", sample_rate=RATE, frame_rate=RATE / HOP, modules=torch.nn.Linear(1, 1),
            prior=scale, weights_sha256="f" * 64,
        )  # fmt: skip

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        whole = audio[..., : audio.shape[-1] // HOP * HOP]
        mean = 10 * whole.reshape(len(audio), -1, HOP).transpose(1, 2)
        return mean, None if self.info.headline is None else torch.full_like(mean, 0.1)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.transpose(1, 2).reshape(len(z), 1, -1) / 10


class Voice(PosteriorCodec):
    """Two channels: log2 of F0 over 100 Hz, and the natural logarithm of the RMS."""

    def __init__(self, *, points: object = None) -> None:
        super().__init__(
            name="voice", sample_rate=RATE, frame_rate=RATE / 80, modules=torch.nn.Linear(1, 1),
            weights_sha256="a" * 64,
        )  # fmt: skip

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = audio.shape[-1] // 80
        rows = []
        for clip in audio:
            f0 = pitch.middle(pitch.track(clip.numpy(), RATE))
            rms = float(clip.double().square().mean().sqrt())
            rows.append([math.log2(f0 / 100), math.log(rms)])
        mean = torch.tensor(rows)[:, :, None].expand(-1, -1, frames).contiguous()
        return mean, torch.full_like(mean, 0.01)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        f0, rms = (z[:, row].double().repeat_interleave(80, dim=-1) for row in (0, 1))
        return voice(100 * 2**f0, rms.exp())[:, None]


class Endless(Frames):
    """Decodes to NaN what is louder than 0.9."""

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        audio = super().decode_latent(z)
        return audio.masked_fill(audio.abs() > 0.9, float("nan"))


class Infinite(Frames):
    """Makes means that are not finite of clips louder than 0.4."""

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean, scale = super().posterior(audio)
        return mean.masked_fill(mean.abs() > 4, float("inf")), scale


class Fragile(Frames):
    """Its decoder raises."""

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of luck\nand more")


def voice(f0: torch.Tensor, rms: torch.Tensor) -> torch.Tensor:
    """Five harmonics of F0 in hertz at an RMS, (…, time), float32."""
    phase = 2 * np.pi * torch.cumsum(f0 / RATE, dim=-1)
    wave = sum((torch.sin(k * phase) / k for k in range(1, 6)), torch.zeros(()))
    power = sum(0.5 / k**2 for k in range(1, 6))
    return (rms * wave / math.sqrt(power)).float()
