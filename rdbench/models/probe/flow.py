"""Flow matching on a straight path: x_t = (1 − t) ε + t z, whose velocity is z − ε.

Lipman et al. 2023 (arXiv 2210.02747), rectified flow (Liu et al. 2023, arXiv 2209.03003). The least
loss is the mean conditional variance of the velocity; for Gaussian latents with eigenvalues λ it is
∫ λ / ((1 − t)² + λ t²) dt = (π / 2) √λ for each, so (π / 2) · mean √λ, and π / 2 for white ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STEPS = 32
"""Steps of the sampler."""

Velocity = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""x (clips, frames, channels) and t (clips,) to the velocity, shaped as x."""


def interpolate(z: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """x_t of latents and noise (clips, frames, channels) at times t (clips,)."""
    import torch

    return torch.lerp(noise, z, t[:, None, None])


def squared_error(
    velocity: Velocity, z: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """‖v(x_t, t) − (z − ε)‖² of every element, (clips, frames, channels)."""
    return (velocity(interpolate(z, noise, t), t) - (z - noise)).square()


def heun(
    velocity: Velocity, x: torch.Tensor, *, start: float = 0.0, steps: int = STEPS
) -> torch.Tensor:
    """Follows the velocity from x at time `start` to time 1, in equal steps of Heun's method."""
    size = (1.0 - start) / steps
    for step in range(steps):
        t = x.new_full((x.shape[0],), start + step * size)
        first = velocity(x, t)
        second = velocity(x + size * first, (t + size).clamp_max(1.0))
        x = x + 0.5 * size * (first + second)
    return x
