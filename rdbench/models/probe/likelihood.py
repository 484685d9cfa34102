"""How likely a latent is to a flow-matching generator: the density of what its sampler draws.

The flow x' = v(x, t) takes x_0 ~ N(0, I) to x_1 = z. By the instantaneous change of variables (Chen
et al. 2018, arXiv 1806.07366), followed backwards from z,

    ln p(z) = ln N(x_0; 0, I) − ∫ div v(x_t, t) dt

The divergence is estimated by Hutchinson's εᵀ (∂v/∂x) ε with fresh signs ε at every evaluation
(Grathwohl et al. 2019, arXiv 1810.01367, who keep one ε for the whole path): unbiased, and exact
where ∂v/∂x is diagonal. The solver is the sampler's, Heun's method in equal steps; its error is not
in the estimate's noise. For Gaussian latents 32 steps are wrong by 0.0005 nat per dimension at a
variance of 0.1 and by 0.005 at 0.01, both below the truth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from rdbench.models.probe.flow import STEPS

if TYPE_CHECKING:
    from rdbench.models.probe.flow import Velocity


def log_density(
    velocity: Velocity, z: torch.Tensor, *, generator: torch.Generator, steps: int = STEPS
) -> torch.Tensor:
    """The density, ln p(z) in nats, of each clip by frame: float64 (clips, frames), to be added up.

    velocity: differentiable, and of every clip for itself. z: (clips, frames, channels).
    generator: of the signs, on the CPU.
    """
    size = 1.0 / steps
    x = z
    integral = x.new_zeros(x.shape[:2], dtype=torch.float64)
    for step in range(steps):
        t = x.new_full((x.shape[0],), 1.0 - step * size)
        before = (t - size).clamp_min(0.0)
        first, opened = _with_divergence(velocity, x, t, generator)
        second, closed = _with_divergence(velocity, x - size * first, before, generator)
        x = x - 0.5 * size * (first + second)
        integral += 0.5 * size * (opened + closed)
    start = x.double().square() + math.log(2.0 * math.pi)
    return -0.5 * start.sum(dim=-1) - integral


def _with_divergence(
    velocity: Velocity, x: torch.Tensor, t: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The velocity, and an estimate of its divergence in each frame, float64 (clips, frames)."""
    signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2.0 - 1.0
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        found = velocity(at, t)
        (turned,) = torch.autograd.grad(found, at, signs)
    return found.detach(), (signs * turned).double().sum(dim=-1)
