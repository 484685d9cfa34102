"""The probe's network: a transformer over frames that gives the velocity of a latent.

Rotary positions (Su et al. 2021), attention within a band of frames, time by adaptive layer norm
with gates that start at zero (Peebles & Xie 2023, DiT). The network stands behind the solution for
white latents, in the manner of Karras et al. 2022: with s² = (1 − t)² + t² the variance of x_t,

    v(x, t) = ((2t − 1) x / s + F(x / s, t)) / s

so that F has inputs and targets of unit variance, and an untrained probe (F = 0) is the best there
is for white latents. What training finds is what a latent has beyond that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.probe.config import BANDS, ProbeConfig

if TYPE_CHECKING:
    from rdbench.models.probe.config import ProbeShape

_ROTARY_BASE = 10_000.0
_TIME_SCALE = 1000.0


class Given(NamedTuple):
    """What a probe knows of clips beside x_t.

    context: standardised latents where they are visible, 0 elsewhere, (clips, frames, live).
    visible: 1 where they are, else 0, (clips, frames, 1).
    condition: the standardised log-mel, (clips, frames, bands), 0 where there is none.
    conditioned: 1 where there is one, else 0, (clips, frames, 1).
    valid: bool (clips, frames), False in the padding; None where there is none.
    """

    context: torch.Tensor
    visible: torch.Tensor
    condition: torch.Tensor
    conditioned: torch.Tensor
    valid: torch.Tensor | None = None


class Probe(nn.Module):
    """Fresh weights come from torch's global generator.

    The buffers are what latents and log-mels are standardised by: means and standard deviations
    over the training corpus, `latent_…` of all channels, `condition_…` of the bands.
    """

    latent_mean: torch.Tensor
    latent_scale: torch.Tensor
    condition_mean: torch.Tensor
    condition_scale: torch.Tensor

    def __init__(self, config: ProbeConfig) -> None:
        super().__init__()
        self.config = config
        shape, live = config.shape, len(config.live)
        self.embed = nn.Linear(2 * live + BANDS + 2, shape.width)
        self.time = nn.Sequential(
            nn.Linear(shape.width, shape.width), nn.SiLU(), nn.Linear(shape.width, shape.width)
        )
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.last = nn.Linear(shape.width, 2 * shape.width)
        self.head = nn.Linear(shape.width, live)
        for layer in (self.last, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for name, size in (("latent", config.channels), ("condition", BANDS)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())

    def flops(self, frames: int) -> int:
        """Floating-point operations of one pass over a clip of `frames`; products alone."""
        width, layers = self.config.shape.width, self.config.shape.layers
        per_frame = [self.embed, self.head]
        once = [layer for layer in self.time if isinstance(layer, nn.Linear)] + [self.last]
        for block in self.blocks:
            assert isinstance(block, _Block)
            per_frame += [block.qkv, block.out, block.up, block.down]
            once.append(block.modulation)
        weights = frames * sum(layer.weight.numel() for layer in per_frame)
        weights += sum(layer.weight.numel() for layer in once)
        return 2 * weights + 4 * layers * frames * (frames + 1) * width

    def standardised(self, latent: torch.Tensor) -> torch.Tensor:
        """The live channels of a latent (…, frames, channels), each with mean 0 and variance 1."""
        live = list(self.config.live)
        return ((latent - self.latent_mean) / self.latent_scale)[..., live]

    def restored(self, live: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        """Undoes `standardised`; dead channels become m_c + s_c · rest.

        live: (…, frames, live). rest: (…, frames, channels).
        """
        values = rest.clone()
        values[..., list(self.config.live)] = live
        return values * self.latent_scale + self.latent_mean

    def forward(self, x: torch.Tensor, t: torch.Tensor, given: Given) -> torch.Tensor:
        """The velocity at x (clips, frames, live) and times t (clips,), shaped as x."""
        t = t.float()
        spread = ((1.0 - t).square() + t.square()).sqrt()[:, None, None]
        unit = x / spread
        frames = x.shape[1]
        features = [unit, given.context, given.visible, given.condition, given.conditioned]
        hidden = self.embed(torch.cat(features, -1))
        time = F.silu(self.time(_sinusoids(t, self.config.shape.width)))
        mask = _band(frames, self.config.reach_frames, given.valid, x.device)
        rotation = _rotation(frames, self.config.shape, x.device)
        for block in self.blocks:
            hidden = block(hidden, time, rotation, mask)
        shift, scale = self.last(time)[:, None].chunk(2, -1)
        made = self.head(_modulated(hidden, shift, scale)).float()
        velocity: torch.Tensor = ((2.0 * t - 1.0)[:, None, None] * unit + made) / spread
        return velocity


class _Block(nn.Module):
    def __init__(self, shape: ProbeShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor,
    ) -> torch.Tensor:
        shift, scale, gate, *feed = self.modulation(time)[:, None].chunk(6, -1)
        x = torch.addcmul(x, gate, self._attend(_modulated(x, shift, scale), rotation, mask))
        inner = F.gelu(self.up(_modulated(x, feed[0], feed[1])), approximate="tanh")
        return torch.addcmul(x, feed[2], self.down(inner))

    def _attend(
        self, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor
    ) -> torch.Tensor:
        clips, frames, width = x.shape
        parts = self.qkv(x).view(clips, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key = (_rotated(part, rotation) for part in parts[:2])
        # One more key and value of zeros, so that a frame at an edge can see that nothing is there.
        key, value = F.pad(key, (0, 0, 0, 1)), F.pad(parts[2], (0, 0, 0, 1))
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed: torch.Tensor = self.out(seen.transpose(1, 2).reshape(clips, frames, width))
        return mixed


def _modulated(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1.0 + scale)


def _sinusoids(t: torch.Tensor, width: int) -> torch.Tensor:
    """(clips, width): cosines and sines of t at geometric frequencies."""
    octaves = torch.arange(width // 2, device=t.device) / (width // 2)
    angles = _TIME_SCALE * t[:, None] * torch.exp(-math.log(_TIME_SCALE) * octaves)
    return torch.cat((angles.cos(), angles.sin()), -1)


def _rotation(
    frames: int, shape: ProbeShape, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (frames, width / heads) of every position's angles."""
    half = shape.width // shape.heads // 2
    octaves = torch.arange(half, device=device) / half
    angles = torch.arange(frames, device=device)[:, None] * _ROTARY_BASE**-octaves
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def _rotated(x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    cosine, sine = (part.to(x.dtype) for part in rotation)
    return torch.addcmul(x * cosine, torch.cat((-second, first), -1), sine)


def _band(
    frames: int, reach: int, valid: torch.Tensor | None, device: torch.device
) -> torch.Tensor:
    """What each frame sees, bool (clips or 1, 1, frames, frames + 1); the last is of no frame."""
    place = torch.arange(frames, device=device)
    near = (place[:, None] - place).abs() <= reach
    seen = near[None] if valid is None else near & valid[:, None, :]
    return F.pad(seen, (0, 1), value=True)[:, None]
