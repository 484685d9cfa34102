"""The selective scan: against the recurrence written as a loop, and both directions."""

import pytest
import torch

from rdbench.models.selective_scan import BidirectionalScan, SelectiveDirection, selective_scan


def drawn(frames: int, *, step: float, decay: float) -> tuple[torch.Tensor, ...]:
    """Inputs of a scan with Δ up to `step` and A down to -`decay`."""
    generator = torch.Generator().manual_seed(frames)
    u, delta = (torch.randn(2, frames, 5, generator=generator) for _ in range(2))
    b, c = (torch.randn(2, frames, 3, generator=generator) for _ in range(2))
    a = -decay * torch.rand(5, 3, generator=generator)
    return u, step * torch.sigmoid(delta), a, b, c


def naive(*given: torch.Tensor) -> torch.Tensor:
    """The recurrence, frame by frame, in float64."""
    u, delta, a, b, c = (part.double() for part in given)
    state = torch.zeros(len(u), *a.shape, dtype=torch.float64)
    out = []
    for t in range(u.shape[1]):
        step = delta[:, t, :, None]
        state = (step * a).exp() * state + step * b[:, t, None] * u[:, t, :, None]
        out.append((state * c[:, t, None]).sum(-1))
    return torch.stack(out, 1)


@pytest.mark.parametrize(
    ("frames", "step", "decay"),
    [(1, 1.0, 1.0), (63, 1.0, 1.0), (65, 1.0, 1.0), (1500, 0.01, 0.01), (1500, 5.0, 100.0)],
    ids=["one frame", "one chunk", "two chunks", "long memory", "no memory"],
)
def test_the_scan_is_the_recurrence(frames: int, step: float, decay: float) -> None:
    """From a state that keeps everything for 1,500 frames to e^-500 from one to the next."""
    given = drawn(frames, step=step, decay=decay)
    found, expected = selective_scan(*given), naive(*given)
    torch.testing.assert_close(
        found.double(), expected, atol=1e-5 * float(expected.abs().max()), rtol=0
    )


def test_chunks_of_any_length_give_the_same_and_the_same_gradients() -> None:
    """Under a decay at which cumulative sums of logarithms would overflow, too."""
    given = drawn(40, step=2.0, decay=60.0)
    gradients = []
    for chunk in (1, 7, 64):
        leaves = [part.clone().requires_grad_() for part in given]
        selective_scan(*leaves, chunk=chunk).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for other in gradients[1:]:
        for mine, theirs in zip(gradients[0], other, strict=True):
            assert mine is not None
            assert mine.isfinite().all()
            torch.testing.assert_close(theirs, mine, atol=1e-5 * float(mine.abs().max()), rtol=0)


def test_one_direction_sees_nothing_of_what_comes_after() -> None:
    torch.manual_seed(0)
    one = SelectiveDirection(6, 4).eval()
    x = torch.randn(1, 80, 6)
    changed = x.clone()
    changed[:, 50] += 1.0
    with torch.no_grad():
        away = (one(changed) - one(x)).abs().amax((0, 2))
    assert float(away[:50].max()) == 0.0
    assert bool((away[50:54] > 0).all())


@pytest.mark.parametrize("tied", [True, False])
def test_tied_directions_and_only_these_commute_with_reversal(tied: bool) -> None:
    torch.manual_seed(0)
    layer = BidirectionalScan(8, 1.5, 4, tied=tied).eval()
    x = torch.randn(2, 70, 8)
    with torch.no_grad():
        away = float((layer(x.flip(1)).flip(1) - layer(x)).abs().max())
        assert float((layer(x) - x).abs().max()) > 0.01
    assert (away < 1e-6) is tied
