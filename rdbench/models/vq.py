"""The `vq` bottleneck: vector quantization as in VQ-VAE, on one level or on two.

A latent z is replaced by the nearest entry e_i of a codebook (Euclidean distance), and its gradient
is that of the entry (straight through). Entries follow the latents that chose them as exponential
moving averages (van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937, appendix A.1), here of
shares in place of counts, so that they do not depend on the size of a batch: with p_i the share of
the step's n latents that chose i, γ the decay, ε the smoothing and K entries,

    P_i <- γ P_i + (1 - γ) p_i,   M_i <- γ M_i + (1 - γ) Σ z / n over the latents that chose i,
    e_i = M_i / P'_i,             P'_i = (P_i + ε) / (1 + K ε).

An entry that nothing chooses does not move. As in Jukebox (Dhariwal et al. 2020, arXiv 2005.00341,
section 3.1) it starts again at a latent of the batch, drawn at random; so do all at the first step.

Two levels are those of VQ-VAE-2 (Razavi, van den Oord & Vinyals 2019, arXiv 1906.00446): the upper
one has an index for each `top_stride` frames, the lower one codes each frame given what the upper
one says, and the decoder sees both. A frame of indices holds one of the upper level and
`top_stride` of the lower.
"""

from __future__ import annotations

import torch
from torch import distributed, nn
from torch.nn import functional as F

from rdbench.models.config import VqConfig


class Codebook(nn.Module):
    """Entries of one size, and the share of latents that choose each of them.

    Both are buffers: no optimizer moves them.
    """

    entries: torch.Tensor
    usage: torch.Tensor

    def __init__(self, config: VqConfig) -> None:
        super().__init__()
        self.size = config.codebook_size
        self.decay = config.decay
        self.smoothing = config.smoothing
        self.restart_below = config.restart_below
        self.register_buffer("entries", torch.randn(self.size, config.channels))
        self.register_buffer("usage", torch.zeros(self.size))

    def forward(
        self, latents: torch.Tensor, *, follow: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Entries in place of latents (clips, frames, channels), codes (clips, frames), commitment.

        follow: whether the entries move towards the latents that chose them.
        """
        if follow and not bool(self.usage.any()):
            self._restart(torch.ones_like(self.usage, dtype=torch.bool), latents)
        codes = self._nearest(latents)
        chosen = F.embedding(codes, self.entries)
        if follow:
            self._follow(latents, codes)
        commitment = F.mse_loss(latents, chosen)
        return latents + (chosen - latents).detach(), codes, commitment

    def _nearest(self, latents: torch.Tensor) -> torch.Tensor:
        distance = self.entries.square().sum(1) - 2.0 * latents @ self.entries.T
        return distance.argmin(-1)

    @torch.no_grad()
    def _follow(self, latents: torch.Tensor, codes: torch.Tensor) -> None:
        flat = latents.reshape(-1, latents.shape[-1])
        chose = F.one_hot(codes.reshape(-1), self.size).to(flat)
        # A product of matrices, since scattered sums differ from run to run on a GPU.
        found = torch.cat([chose.sum(0)[:, None], chose.T @ flat], dim=1)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(found)
        found = found / found[:, 0].sum()
        sums = self.entries * self._smoothed()[:, None]
        sums = self.decay * sums + (1.0 - self.decay) * found[:, 1:]
        self.usage.mul_(self.decay).add_((1.0 - self.decay) * found[:, 0])
        self.entries.copy_(sums / self._smoothed()[:, None])
        self._restart(self.usage * self.size < self.restart_below, latents)

    def _smoothed(self) -> torch.Tensor:
        return (self.usage + self.smoothing) / (1.0 + self.size * self.smoothing)

    @torch.no_grad()
    def _restart(self, dead: torch.Tensor, latents: torch.Tensor) -> None:
        """Sets `dead` entries to latents of the batch, with an even share each to begin with."""
        flat = latents.reshape(-1, latents.shape[-1])
        drawn = flat[torch.randint(len(flat), (self.size,), device=flat.device)]
        self.entries.copy_(torch.where(dead[:, None], drawn, self.entries))
        self.usage.masked_fill_(dead, 1.0 / self.size)


class TopLevel(nn.Module):
    """The upper of two levels, on (clips, channels, frames): its codebook, and the ways to it."""

    def __init__(self, config: VqConfig, stride: int) -> None:
        super().__init__()
        width = config.channels
        self.down = nn.Sequential(
            nn.Conv1d(width, width, stride, stride), nn.GELU(), nn.Conv1d(width, width, 1)
        )
        self.codebook = Codebook(config)
        self.up = nn.ConvTranspose1d(width, width, stride, stride)
        self.merge = nn.Conv1d(2 * width, width, 1)


class VqBottleneck(nn.Module):
    """Features to the latents before quantization, and those to codes and back."""

    def __init__(self, config: VqConfig, features: int) -> None:
        super().__init__()
        self.channels = config.channels
        self.stride = config.stride
        self.mean = nn.Linear(features, config.channels)
        self.codebook = Codebook(config)
        self.top = TopLevel(config, config.top_stride) if config.top_stride else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The latents before quantization, (clips, frames, channels), float32."""
        projected: torch.Tensor = self.mean(features).float()
        return projected

    def quantize(
        self, latents: torch.Tensor, codebooks: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Quantized latents, codes (clips, codebooks, frames of indices), commitment, and 0.

        The frames of `latents` must be a multiple of the stride. `codebooks` is all of them. In
        training, unless it is frozen, the codebooks follow. All runs in float32, as distances need.
        """
        follow = self.training and self.mean.weight.requires_grad
        none = latents.new_zeros(())
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            if self.top is None:
                chosen, codes, commitment = self.codebook(latents, follow=follow)
                return chosen, codes.unsqueeze(1), commitment, none
            wide = latents.transpose(1, 2)
            upper = self.top.down(wide).transpose(1, 2)
            upper, top_codes, top_commitment = self.top.codebook(upper, follow=follow)
            told = self.top.up(upper.transpose(1, 2))
            lower = self.top.merge(torch.cat([wide, told], 1)).transpose(1, 2)
            chosen, codes, commitment = self.codebook(lower, follow=follow)
        packed = codes.unflatten(1, (-1, self.stride)).transpose(1, 2)
        every = torch.cat([top_codes.unsqueeze(1), packed], dim=1)
        return chosen + told.transpose(1, 2), every, commitment + top_commitment, none

    def dequantize(self, codes: torch.Tensor) -> torch.Tensor:
        """Latents (clips, frames, channels) of codes (clips, codebooks, frames of indices)."""
        if self.top is None:
            return F.embedding(codes[:, 0], self.codebook.entries)
        upper = F.embedding(codes[:, 0], self.top.codebook.entries)
        told: torch.Tensor = self.top.up(upper.transpose(1, 2)).transpose(1, 2)
        lower = codes[:, 1:].transpose(1, 2).flatten(1)
        return F.embedding(lower, self.codebook.entries) + told
