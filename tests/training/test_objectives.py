"""Objectives against their formulas, their gradients, and what they do to a small model."""

import math
from typing import NamedTuple

import pytest
import torch

from rdbench.models.bottleneck import kl_nats
from rdbench.training.objectives import (
    Beta,
    Capacity,
    ChannelWeights,
    FreeBits,
    Geco,
    Objective,
    Star,
    TargetKl,
    kbps_of,
    nats_per_frame,
)
from rdbench.training.rate_term import RateTerm

CLIPS, CHANNELS, FRAMES = 3, 5, 7
RATE = 40.0


def posterior(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (CLIPS, CHANNELS, FRAMES)
    mean = torch.randn(shape, generator=generator, dtype=torch.float64)
    return mean, torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1


def term(objective: Objective, step: int = 0) -> float:
    mean, scale = posterior()
    return float(RateTerm(objective, RATE)(mean, scale, step)[0])


def test_the_papers_targets_in_kbps() -> None:
    # 80 … 1280 nats per frame at 40 Hz: the sweep of the target-KL paper.
    for nats, kbps in ((80, 4.62), (160, 9.23), (320, 18.47), (640, 36.93), (1280, 73.87)):
        assert kbps_of(nats, 40.0) == pytest.approx(kbps, abs=0.005)
        assert nats_per_frame(kbps_of(nats, 40.0), 40.0) == pytest.approx(nats, rel=1e-12)


@pytest.mark.parametrize("reduction", ["batch", "clip", "frame"])
def test_target_kl_is_the_squared_channel_error_under_its_reduction(reduction: str) -> None:
    mean, scale = posterior()
    target = nats_per_frame(2.0, RATE)
    kl = kl_nats(mean, scale).sum(1).numpy()  # (clips, frames)
    reduced = {"batch": kl.mean(), "clip": kl.mean(1), "frame": kl}[reduction]
    expected = 3.0 * (((reduced - target) / CHANNELS) ** 2).mean()
    objective = TargetKl(kbps=2.0, weight=3.0, reduction=reduction)  # type: ignore[arg-type]
    assert term(objective) == pytest.approx(float(expected), rel=1e-12)


def test_relative_error_is_over_the_target() -> None:
    mean, scale = posterior()
    nats = float(kl_nats(mean, scale).sum(1).mean())
    expected = (nats / nats_per_frame(2.0, RATE) - 1.0) ** 2
    objective = TargetKl(kbps=2.0, weight=1.0, error="relative")
    assert term(objective) == pytest.approx(expected, rel=1e-12)


def test_the_reported_kl_is_nats_per_frame() -> None:
    mean, scale = posterior()
    nats = RateTerm(TargetKl(kbps=1.0), RATE)(mean, scale, 0)[1]
    assert float(nats) == pytest.approx(float(kl_nats(mean, scale).sum()) / (CLIPS * FRAMES))


def test_beta_is_annealed() -> None:
    mean, scale = posterior()
    nats = float(kl_nats(mean, scale).sum(1).mean())
    objective = Beta(beta=0.1, anneal_steps=10)
    for step, share in ((0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)):
        assert term(objective, step) == pytest.approx(0.1 * share * nats)


def test_free_bits_leaves_cheap_channels_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn((1, 2, 50), generator=generator, dtype=torch.float64)
    mean[:, 0] *= 1e-3
    mean.requires_grad_()
    scale = torch.ones_like(mean)
    value, _ = RateTerm(FreeBits(nats=0.1), RATE)(mean, scale, 0)
    value.backward()
    expected = 0.1 + float(kl_nats(mean, scale)[:, 1].mean().detach())
    assert float(value.detach()) == pytest.approx(expected)
    assert mean.grad is not None
    assert bool((mean.grad[:, 0] == 0).all())
    assert bool((mean.grad[:, 1] != 0).all())


def test_stars_weights() -> None:
    star = Star(beta_min=1e-5, beta_max=4e-4, gamma=2.0)
    weights = star.weights(5)
    expected = [1e-5 + (4e-4 - 1e-5) * ((c - 1) / 4) ** 2 for c in range(1, 6)]
    assert weights.tolist() == pytest.approx(expected, rel=1e-12)
    assert star.weights(1).tolist() == [1e-5]


def test_star_weighs_channels_after_its_isotropic_phase() -> None:
    mean, scale = posterior()
    per_channel = kl_nats(mean, scale).mean((0, 2))
    star = Star(isotropic_beta=2e-4, isotropic_steps=3)
    assert term(star, 2) == pytest.approx(2e-4 * float(per_channel.sum()))
    assert term(star, 3) == pytest.approx(float((star.weights(CHANNELS) * per_channel).sum()))


@pytest.mark.parametrize(
    "objective",
    [
        TargetKl(kbps=2.0),
        TargetKl(kbps=2.0, reduction="clip", error="relative"),
        TargetKl(kbps=2.0, reduction="frame"),
        Beta(beta=0.3),
        FreeBits(nats=0.5, reduction="clip"),
        Star(),
        Capacity(kbps=2.0, reduction="frame"),
        Geco(at_most=1.0),
    ],
    ids=lambda o: f"{o.kind}-{getattr(o, 'reduction', '')}",
)
def test_gradients(objective: Objective) -> None:
    mean, scale = (t.requires_grad_() for t in posterior())
    rate = RateTerm(objective, RATE, multiplier=0.7)
    assert torch.autograd.gradcheck(lambda m, s: rate(m, s, 5)[0], (mean, scale))


def test_annealed_target_moves_geometrically() -> None:
    objective = TargetKl(kbps=2.0, anneal_from=8.0, anneal_steps=100)
    assert objective.target_kbps(0) == pytest.approx(8.0)
    assert objective.target_kbps(50) == pytest.approx(4.0)
    assert objective.target_kbps(100) == 2.0


def test_a_capacity_rises_to_its_rate() -> None:
    mean, scale = posterior()
    nats = float(kl_nats(mean, scale).sum(1).mean())
    objective = Capacity(kbps=2.0, gamma=3.0, anneal_steps=10)
    for step, share in ((0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)):
        expected = 3.0 * abs(nats - share * nats_per_frame(2.0, RATE))
        assert term(objective, step) == pytest.approx(expected, rel=1e-12)


def test_gecos_multiplier_follows_its_constraint() -> None:
    rate = RateTerm(Geco(term="mel", at_most=0.5, rate=0.1, smoothing=0.9, multiplier=2.0), RATE)
    mean, scale = posterior()
    nats = float(kl_nats(mean, scale).sum(1).mean())
    assert float(rate(mean, scale, 0)[0]) == pytest.approx(nats)
    losses = {name: torch.tensor(0.6) for name in ("wave", "mel", "stft")}
    assert {name: float(value) for name, value in rate.held(losses).items()} == pytest.approx(
        {"wave": 0.6, "mel": 1.2, "stft": 0.6}
    )
    rate.update(nats, {"wave": 9.0, "mel": 0.6, "stft": 9.0}, 0)
    assert rate.violation == pytest.approx(0.2)
    assert rate.multiplier == pytest.approx(2.0 * math.exp(0.1 * 0.2))
    rate.update(nats, {"wave": 9.0, "mel": 0.4, "stft": 9.0}, 1)
    assert rate.violation == pytest.approx(0.9 * 0.2 + 0.1 * -0.2)
    other = RateTerm(rate.objective, RATE)
    other.load_state_dict(rate.state_dict())
    assert other == rate


def test_weights_of_channels_have_mean_one_and_stars_shape() -> None:
    found = ChannelWeights(gamma=2.0, floor=0.2).of(5)
    shape = torch.tensor([0.2 + 0.8 * ((c - 1) / 4) ** 2 for c in range(1, 6)], dtype=torch.float64)
    torch.testing.assert_close(found, shape / shape.mean())
    assert float(found.mean()) == pytest.approx(1.0)
    assert ChannelWeights().of(1).tolist() == [1.0]


@pytest.mark.parametrize("reduction", ["batch", "clip", "frame"])
def test_weights_shape_the_gradient_and_not_the_rate(reduction: str) -> None:
    def found(weights: ChannelWeights | None) -> list[torch.Tensor]:
        mean, scale = (part.requires_grad_() for part in posterior())
        objective = TargetKl(kbps=0.2, weights=weights, reduction=reduction)  # type: ignore[arg-type]
        value, nats = RateTerm(objective, RATE, multiplier=0.7)(mean, scale, 0)
        value.backward()
        assert mean.grad is not None
        assert scale.grad is not None
        return [value.detach(), nats, mean.grad, scale.grad]

    plain, flat, shaped = found(None), found(ChannelWeights(gamma=0)), found(ChannelWeights())
    for one, other in zip(plain, flat, strict=True):
        assert torch.equal(one, other)
    torch.testing.assert_close(shaped[:2], plain[:2])
    weights = ChannelWeights().of(CHANNELS)[:, None]
    torch.testing.assert_close(shaped[2], weights * plain[2])


class Linear(NamedTuple):
    """What a linear Gaussian autoencoder came to: its KL by channel, nats, and its loss."""

    nats: torch.Tensor
    loss: float


def _train_linear(objective: Objective, steps: int = 800) -> Linear:
    """Of eight channels of unit variance; the loss is 5 times the mean squared error."""
    generator = torch.Generator().manual_seed(0)
    gain = torch.ones(8, requires_grad=True)
    log_scale = torch.full((8,), -1.0, requires_grad=True)
    optimizer = torch.optim.Adam([gain, log_scale], lr=0.02)
    rate, nats, shown = RateTerm(objective, RATE), torch.zeros(8), 0.0
    for step in range(steps):
        x = torch.randn(4, 8, 32, generator=generator)
        mean, scale = gain[:, None] * x, log_scale.exp()[:, None].expand_as(x)
        z = mean + scale * torch.randn(x.shape, generator=generator)
        best = gain / (gain.square() + (2 * log_scale).exp())
        losses = {"wave": 5.0 * (x - best[:, None] * z).square().mean()}
        penalty, kl = rate(mean, scale, step)
        optimizer.zero_grad()
        (rate.held(losses)["wave"] + penalty).backward()
        optimizer.step()
        rate.update(float(kl), {"wave": float(losses["wave"].detach())}, step)
        nats = 0.98 * nats + 0.02 * kl_nats(mean, scale).detach().mean((0, 2))
        shown = 0.98 * shown + 0.02 * float(losses["wave"].detach())
    return Linear(nats, shown)


def _over_target(objective: TargetKl | Capacity) -> float:
    return float(_train_linear(objective).nats.sum()) / nats_per_frame(objective.kbps, RATE)


def test_a_multiplier_meets_the_target_that_a_fixed_weight_overshoots() -> None:
    target = kbps_of(1.0, RATE)
    assert _over_target(TargetKl(kbps=target, weight=2.0)) > 1.5
    dual = TargetKl(kbps=target, weight=2.0, multiplier=0.02)
    assert _over_target(dual) == pytest.approx(1.0, abs=0.05)


def test_a_capacity_is_kept_where_its_pull_outweighs_the_loss() -> None:
    objective = Capacity(kbps=kbps_of(2.0, RATE), gamma=5.0, anneal_steps=500)
    assert _over_target(objective) == pytest.approx(1.0, abs=0.05)


def test_geco_comes_to_the_least_rate_of_its_quality() -> None:
    """Of a Gaussian source that is Σ 1/2 ln(1 / d) at a mean squared error of d."""
    error = 0.5
    found = _train_linear(Geco(term="wave", at_most=5.0 * error, rate=0.05))
    assert found.loss == pytest.approx(5.0 * error, rel=0.05)
    assert float(found.nats.sum()) == pytest.approx(8 * 0.5 * math.log(1 / error), rel=0.05)


def test_weights_move_the_rate_to_low_channels_and_keep_its_sum() -> None:
    """Against the closed form: the loss (5/8) Σ exp(-2 k_c) + β Σ w_c k_c is least at
    k_c = 1/2 ln(5/4 / (β w_c)), and β is what makes their sum the target.
    """
    weights = ChannelWeights(gamma=2.0, floor=0.4)
    target = 4.0
    dual = TargetKl(kbps=kbps_of(target, RATE), error="relative", multiplier=0.02, weights=weights)
    found = _train_linear(dual).nats
    w = weights.of(8)
    level = (target + 0.5 * w.log().sum()) / 8
    expected = level - 0.5 * w.log()
    assert float(expected.min()) > 0
    assert float(found.sum()) == pytest.approx(target, rel=0.05)
    torch.testing.assert_close(found.double(), expected, atol=0.08, rtol=0)
