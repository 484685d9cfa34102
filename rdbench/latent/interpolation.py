"""Paths between two latents.

    lerp     (1 − t) a + t b. Of independent Gaussian latents ‖z‖²/D falls to (1 − t)² + t² of what
             it was: a half in the middle.
    slerp    frame by frame on the sphere (Shoemake 1985, "Animating rotation with quaternion
             curves"): the direction turns evenly from that of a to that of b, while the norm goes
             evenly from ‖a‖ to ‖b‖. Equal norms are kept.

Frames that point the same way, or in opposite ways, have no arc to turn along; their directions are
mixed as by lerp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STEPS = 9
"""Points of a path, its ends among them."""
TIMES = tuple(step / (STEPS - 1) for step in range(STEPS))
_NO_ARC = 1e-6
"""Of the sine of an angle."""


def lerp(one: torch.Tensor, two: torch.Tensor, t: float) -> torch.Tensor:
    """(1 − t) one + t two; latents (channels, frames), t in 0 … 1."""
    return (1.0 - t) * one + t * two


def slerp(one: torch.Tensor, two: torch.Tensor, t: float) -> torch.Tensor:
    """As the module says; latents (channels, frames), t in 0 … 1. The ends are exact."""
    if t in (0.0, 1.0):
        return (two if t else one).clone()
    norms = [latent.double().norm(dim=0) for latent in (one, two)]
    tiny = 1e-30
    a, b = (
        latent.double() / norm.clamp_min(tiny)
        for latent, norm in zip((one, two), norms, strict=True)
    )
    angle = (a * b).sum(dim=0).clamp(-1.0, 1.0).acos()
    sine = angle.sin()
    flat = sine < _NO_ARC
    safe = sine.masked_fill(flat, 1.0)
    first = (((1.0 - t) * angle).sin() / safe).masked_fill(flat, 1.0 - t)
    second = ((t * angle).sin() / safe).masked_fill(flat, t)
    turned: torch.Tensor = ((1.0 - t) * norms[0] + t * norms[1]) * (first * a + second * b)
    return turned.to(one.dtype)
