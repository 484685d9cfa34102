"""Posteriors as of trained VAEs, for tests."""

from __future__ import annotations

import torch

from rdbench.types import Posterior

SCALES = torch.tensor([0.02, 0.1, 0.5, 1.0])


def posterior(seed: int, *, clips: int = 2, frames: int = 400, scale: bool = True) -> Posterior:
    """Four channels as of a trained VAE: three live ones, and a dead one of mean 0.2, scale 1."""
    generator = torch.Generator().manual_seed(seed)
    sigma = SCALES[None, :, None] * (0.9 + 0.2 * torch.rand(clips, 4, frames, generator=generator))
    spread = (1 - SCALES**2).clamp(min=1e-4).sqrt()[None, :, None]
    mean = spread * torch.randn(clips, 4, frames, generator=generator)
    mean[:, 3] += 0.2
    return Posterior(mean, sigma if scale else None, torch.full((clips,), frames), 50.0)


def restless(seed: int, *, clips: int = 3, frames: int = 300) -> Posterior:
    """Eight channels of standard deviation 1 whose scales go up and down together."""
    generator = torch.Generator().manual_seed(seed)
    level = 0.5 + 0.8 * torch.rand(clips, 1, -(-frames // 25), generator=generator)
    level = level.repeat_interleave(25, dim=-1)[..., :frames]
    sigma = (torch.logspace(-1.3, 0.0, 8)[None, :, None] * level).clamp(max=0.99)
    mean = (1 - sigma**2).sqrt() * torch.randn(clips, 8, frames, generator=generator)
    return Posterior(mean, sigma, torch.full((clips,), frames), 50.0)


def near_ideal(bits: int, ideal: float) -> bool:
    return abs(bits - ideal) <= 0.005 * ideal + 64
