"""Bottlenecks: KL and scales against closed forms, quantization against its own codes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from rdbench.models.bottleneck import RvqBottleneck, kl_nats, scale_from
from rdbench.models.config import RvqConfig


@given(
    mean=st.floats(-30, 30),
    log_scale=st.floats(-12, 4),
)
def test_kl_is_that_of_torch_distributions(mean: float, log_scale: float) -> None:
    mu = torch.tensor(mean, dtype=torch.float64)
    sigma = torch.tensor(log_scale, dtype=torch.float64).exp()
    expected = kl_divergence(Normal(mu, sigma), Normal(mu * 0, sigma * 0 + 1))
    # Near N(0, 1) both sides cancel to second order: absolute error of a few ulp of 1.
    assert float(kl_nats(mu, sigma)) == pytest.approx(float(expected), rel=1e-12, abs=1e-14)


def test_kl_is_zero_for_the_prior_and_keeps_its_half() -> None:
    assert float(kl_nats(torch.zeros(()), torch.ones(()))) == 0.0
    # Without the half this would be 1.
    assert float(kl_nats(torch.ones(()), torch.ones(()))) == 0.5


def test_scales_follow_their_definitions() -> None:
    raw = torch.linspace(-20, 15, 71, dtype=torch.float64)
    torch.testing.assert_close(scale_from(raw, "logvar"), torch.exp(raw / 2))
    softplus = torch.log1p(torch.exp(raw)) + 1e-4
    torch.testing.assert_close(scale_from(raw, "softplus"), softplus)


@pytest.mark.parametrize("kind", ["logvar", "softplus"])
def test_scales_stay_positive_and_finite_for_any_output(kind: str) -> None:
    scale = scale_from(torch.tensor([-1e30, -200.0, 0.0, 200.0]), kind)  # type: ignore[arg-type]
    assert bool((scale > 0).all())
    assert bool(torch.isfinite(scale).all())
    assert bool(torch.isfinite(kl_nats(torch.zeros(4), scale)).all())


def test_codes_and_their_latents_belong_together() -> None:
    torch.manual_seed(0)
    bottleneck = RvqBottleneck(RvqConfig(channels=6, codebooks=5, codebook_size=9), 12).eval()
    latents = bottleneck(torch.randn(2, 20, 12))
    quantized, codes, _, _ = bottleneck.quantize(latents)
    assert codes.shape == (2, 5, 20)
    torch.testing.assert_close(bottleneck.dequantize(codes), quantized)
    # Nested: fewer codebooks are a prefix.
    fewer = bottleneck.quantize(latents, 2)[1]
    assert torch.equal(fewer, codes[:, :2])


def test_a_bound_of_the_kl_rate_on_one_channel() -> None:
    """A channel that says x ~ N(0, 1) with noise σ costs at least the mutual information."""
    sigma = 0.1
    x = torch.linspace(-5, 5, 20001, dtype=torch.float64)
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    # q(z|x) = N(√(1 - σ²) x, σ²) has the marginal N(0, 1), so KL equals I = -ln σ.
    kl = kl_nats(math.sqrt(1 - sigma**2) * x, torch.full_like(x, sigma))
    assert float(torch.trapezoid(density * kl, x)) == pytest.approx(-math.log(sigma), rel=1e-4)
