"""Flow matching: the least loss in closed form, and a sampler that keeps the covariance."""

import math

import pytest
import torch

from rdbench.models.probe.flow import Velocity, heun, interpolate, squared_error

CLIPS, FRAMES, CHANNELS = 4096, 32, 2


def autoregressive(rho: float) -> torch.Tensor:
    """Covariance of an AR(1) with unit variance over the frames, float64."""
    place = torch.arange(FRAMES, dtype=torch.float64)
    return torch.as_tensor(rho ** (place[:, None] - place).abs())


def optimal(covariance: torch.Tensor) -> Velocity:
    """E[z − ε | x_t] = (t λ − (1 − t)) / ((1 − t)² + λ t²) x_t in the covariance's own basis."""
    values, basis = torch.linalg.eigh(covariance)

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        t = t[:, None].double()
        gain = (t * values - (1 - t)) / ((1 - t) ** 2 + values * t**2)
        own = basis.T @ x.double()
        return (basis @ (gain[..., None] * own)).to(x.dtype)

    return velocity


def drawn(covariance: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(CLIPS, FRAMES, CHANNELS, generator=generator, dtype=torch.float64)
    return torch.linalg.cholesky(covariance) @ white


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_optimal_velocity_has_the_loss_of_the_closed_form(rho: float) -> None:
    covariance = autoregressive(rho)
    least = math.pi / 2 * float(torch.linalg.eigvalsh(covariance).sqrt().mean())
    t = (torch.arange(CLIPS, dtype=torch.float64) + 0.5) / CLIPS
    z, noise = drawn(covariance, 1), drawn(torch.eye(FRAMES, dtype=torch.float64), 2)
    errors = squared_error(optimal(covariance), z, noise, t)
    assert float(errors.mean()) == pytest.approx(least, rel=0.01)
    worse = squared_error(lambda x, at: 0.9 * optimal(covariance)(x, at), z, noise, t)
    assert float(worse.mean()) > float(errors.mean())


def test_white_latents_cost_half_of_pi() -> None:
    assert math.pi / 2 * float(torch.linalg.eigvalsh(autoregressive(0.0)).sqrt().mean()) == (
        pytest.approx(math.pi / 2)
    )


@pytest.mark.parametrize("start", [0.0, 0.4])
def test_samples_of_the_optimal_velocity_have_the_covariance(start: float) -> None:
    covariance = autoregressive(0.9)
    noise = drawn(torch.eye(FRAMES, dtype=torch.float64), 3)
    t = torch.full((CLIPS,), start, dtype=torch.float64)
    first = interpolate(drawn(covariance, 4), noise, t)
    made = heun(optimal(covariance), first, start=start)
    # Linear, so the covariance follows exactly from that of the start: no Monte Carlo.
    white = torch.eye(FRAMES, dtype=torch.float64)
    at_start = (1 - start) ** 2 * white + start**2 * covariance
    root = torch.linalg.cholesky(at_start)
    map_ = heun(optimal(covariance), root[None], start=start)[0]
    assert torch.allclose(map_ @ map_.T, covariance, atol=0.01)
    found = made.transpose(1, 2).reshape(-1, FRAMES)
    assert torch.allclose(found.T @ found / len(found), covariance, atol=0.2)


def test_the_path_leads_from_noise_to_the_latent() -> None:
    z, noise = torch.ones(2, 3, 1), torch.zeros(2, 3, 1)
    assert torch.equal(
        interpolate(z, noise, torch.tensor([0.0, 0.25]))[:, 0, 0], torch.tensor([0.0, 0.25])
    )
    done = heun(lambda x, t: z - noise, noise)
    assert torch.allclose(done, z, atol=1e-6)
