"""The density of a flow: that of the Gaussian whose exact velocity it is given."""

import math

import pytest
import torch

from rdbench.models.probe.config import ProbeConfig, ProbeShape
from rdbench.models.probe.flow import Velocity
from rdbench.models.probe.likelihood import log_density
from rdbench.models.probe.tasks import unconditioned
from rdbench.models.probe.transformer import Probe

CLIPS, FRAMES, CHANNELS = 64, 24, 3


def autoregressive(rho: float) -> torch.Tensor:
    place = torch.arange(FRAMES, dtype=torch.float64)
    return torch.as_tensor(rho ** (place[:, None] - place).abs())


def optimal(covariance: torch.Tensor, variances: torch.Tensor) -> Velocity:
    """E[z − ε | x_t] of latents with a covariance over frames, times a variance of each channel."""
    values, basis = torch.linalg.eigh(covariance)
    values = values[:, None] * variances

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        t = t[:, None, None].double()
        gain = (t * values - (1 - t)) / ((1 - t) ** 2 + values * t**2)
        return (basis @ (gain * (basis.T @ x.double()))).to(x.dtype)

    return velocity


def drawn(covariance: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    white = torch.randn(CLIPS, FRAMES, CHANNELS, generator=generator, dtype=torch.float64)
    return torch.linalg.cholesky(covariance) @ white * variances.sqrt()


def truth(z: torch.Tensor, covariance: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    """ln p(z) of every clip."""
    whole = torch.distributions.MultivariateNormal(torch.zeros(FRAMES).double(), covariance)
    unit = z / variances.sqrt()
    each = torch.stack([whole.log_prob(unit[..., c]) for c in range(CHANNELS)])
    return each.sum(dim=0) - 0.5 * FRAMES * variances.log().sum()


@pytest.mark.parametrize(
    ("rho", "variances"),
    [(0.0, [1.0, 1.0, 1.0]), (0.0, [0.1, 1.0, 4.0]), (0.9, [1.0, 1.0, 1.0])],
    ids=["white", "diagonal", "autoregressive"],
)
def test_the_density_is_that_of_the_gaussian(rho: float, variances: list[float]) -> None:
    covariance, spread = autoregressive(rho), torch.tensor(variances, dtype=torch.float64)
    z = drawn(covariance, spread)
    generator = torch.Generator().manual_seed(1)
    found = log_density(optimal(covariance, spread), z, generator=generator)
    assert found.shape == (CLIPS, FRAMES)
    error = found.sum(dim=1) - truth(z, covariance, spread)
    noise = float(error.std()) / math.sqrt(CLIPS)
    # Per dimension: the solver's error, and of the mean over clips what the trace's noise explains.
    assert abs(float(error.mean())) / (FRAMES * CHANNELS) < 1e-3 + 3 * noise / (FRAMES * CHANNELS)
    if rho == 0.0:  # a diagonal velocity has no noise of its trace
        assert float(error.std()) / (FRAMES * CHANNELS) < 1e-3
    entropy = 0.5 * torch.logdet(2 * math.pi * math.e * covariance) * CHANNELS
    entropy += 0.5 * FRAMES * spread.log().sum()
    drawn_less = float(found.sum(dim=1).std()) / math.sqrt(CLIPS)
    assert -float(found.sum(dim=1).mean()) == pytest.approx(float(entropy), abs=4 * drawn_less)


def test_more_steps_leave_less_error() -> None:
    covariance, spread = autoregressive(0.0), torch.tensor([0.02, 0.1, 9.0], dtype=torch.float64)
    z = drawn(covariance, spread)
    errors = []
    for steps in (16, 32, 64):
        generator = torch.Generator().manual_seed(1)
        found = log_density(optimal(covariance, spread), z, generator=generator, steps=steps)
        errors.append(float((found.sum(dim=1) - truth(z, covariance, spread)).abs().mean()))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_an_untrained_probe_has_the_density_of_white_latents_even_in_inference_mode() -> None:
    torch.manual_seed(0)
    shape = ProbeShape(width=16, layers=1, heads=2)
    config = ProbeConfig(
        shape=shape, channels=CHANNELS, live=(0, 1, 2), frame_rate=10, sample_rate=8000
    )
    probe = Probe(config).eval()
    z = torch.randn(2, FRAMES, CHANNELS)
    with torch.no_grad():
        found = log_density(
            lambda x, t: probe(x, t, unconditioned(x)), z, generator=torch.Generator()
        )
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=-1).double()
    assert torch.allclose(found, expected, atol=2e-3)
