"""Paths between latents against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdbench.latent.interpolation import TIMES, lerp, slerp


def latents(channels: int, frames: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randn(2, channels, frames, generator=torch.Generator().manual_seed(seed))
    return drawn[0], drawn[1]


def test_lerp_of_independent_gaussians_shrinks_as_its_closed_form() -> None:
    one, two = latents(64, 2000)
    for t in TIMES:
        norm = float(lerp(one, two, t).square().mean())
        assert norm == pytest.approx((1 - t) ** 2 + t**2, rel=0.02)


@pytest.mark.parametrize("frames", [1, 50])
def test_slerp_keeps_equal_norms_and_turns_evenly(frames: int) -> None:
    one, two = (z / z.norm(dim=0) * 3 for z in latents(8, frames))
    whole = (one * two).sum(0).div(9).acos()
    for t in TIMES:
        found = slerp(one, two, t)
        assert torch.allclose(found.norm(dim=0), torch.full((frames,), 3.0), atol=1e-5)
        if t:
            turned = (one * found).sum(0).div(9).clamp(-1, 1).acos()
            assert torch.allclose(turned, t * whole, atol=1e-3)


def test_slerp_goes_evenly_between_unequal_norms() -> None:
    one, two = (z / z.norm(dim=0) * n for z, n in zip(latents(8, 20), (1.0, 3.0), strict=True))
    for t in TIMES:
        assert torch.allclose(slerp(one, two, t).norm(dim=0), torch.tensor(1 + 2 * t), atol=1e-5)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_paths_begin_and_end_where_they_should(channels: int, frames: int, seed: int) -> None:
    one, two = latents(channels, frames, seed)
    for path in (lerp, slerp):
        assert torch.equal(path(one, two, 0.0), one)
        assert torch.equal(path(one, two, 1.0), two)


@pytest.mark.parametrize("factor", [-2.0, 1.0, 2.0, 0.0])
def test_frames_without_an_arc_are_finite(factor: float) -> None:
    one = torch.ones(4, 3)
    found = slerp(one, factor * one, 0.5)
    assert found.isfinite().all()
    if factor > 0:
        assert torch.allclose(found, (1 + factor) / 2 * one)
    assert slerp(torch.zeros(4, 3), torch.zeros(4, 3), 0.5).norm() == 0
    assert math.isfinite(float(found.norm()))
