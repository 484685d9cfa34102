"""Draws of fitted priors have the moments of the fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rdbench.rate.draws import coloured
from rdbench.rate.linear import LinearGaussian
from rdbench.rate.prior import GaussianPrior, Moments
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior

D, RHO, FRAMES = 4, 0.7, 20_000
MIX = np.linalg.cholesky(0.5 * np.eye(D) + 0.5)
CENTRE = np.array([1.0, 0.0, -2.0, 0.5])


def fitted_on() -> list[Posterior]:
    """Means that are AR(1) in time and correlated over channels, with some noise on top."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(6):
        rows = rng.standard_normal((2000, D)) @ MIX.T
        for t in range(1, len(rows)):
            rows[t] = RHO * rows[t - 1] + np.sqrt(1 - RHO**2) * rows[t]
        mean = torch.from_numpy((rows + CENTRE).T[None]).float()
        found.append(Posterior(mean, torch.full_like(mean, 0.3), torch.tensor([2000]), 50.0))
    return found


@pytest.fixture(scope="module")
def posteriors() -> list[Posterior]:
    return fitted_on()


def noise(seed: int = 0, frames: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((D, frames))


def linear(posteriors: list[Posterior], order: int) -> LinearGaussian:
    found = LinearGaussian.fit(posteriors, Moments.of(posteriors), order)
    assert found is not None
    return found


def test_no_prior_is_white_noise() -> None:
    white = noise()
    assert np.array_equal(coloured(None, white), white)


def test_the_diagonal_has_means_and_spreads(posteriors: list[Posterior]) -> None:
    prior = GaussianPrior.fit(Moments.of(posteriors))
    drawn = coloured(prior, noise())
    assert drawn.mean(axis=1) == pytest.approx(prior.mean, abs=0.03)
    assert drawn.std(axis=1) == pytest.approx(prior.scale, rel=0.02)
    assert np.abs(np.corrcoef(drawn) - np.eye(D)).max() < 0.03


@pytest.mark.parametrize("order", [0, 4])
def test_full_and_autoregressive_draws_have_the_covariance_of_the_fit(
    posteriors: list[Posterior], order: int
) -> None:
    prior = linear(posteriors, order)
    drawn = coloured(prior, noise())
    inverse = np.linalg.inv(prior.first)
    assert np.cov(drawn) == pytest.approx(inverse @ inverse.T, abs=0.08)
    assert np.cov(drawn) == pytest.approx(MIX @ MIX.T + 0.09 * np.eye(D), abs=0.1)
    assert drawn.mean(axis=1) == pytest.approx(CENTRE, abs=0.15)


def test_an_autoregressive_draw_has_its_lag_1_autocorrelation(posteriors: list[Posterior]) -> None:
    lags = {}
    for order in (0, 4):
        drawn = coloured(linear(posteriors, order), noise())
        away = drawn - drawn.mean(axis=1, keepdims=True)
        lags[order] = (away[:, 1:] * away[:, :-1]).mean(axis=1) / away.var(axis=1)
    assert lags[0] == pytest.approx(0.0, abs=0.03)
    assert lags[4] == pytest.approx(RHO / 1.09, abs=0.03)  # the posterior's noise is white


def test_priors_colour_the_same_noise(posteriors: list[Posterior]) -> None:
    prior = GaussianPrior.fit(Moments.of(posteriors))
    one = coloured(prior, noise(3))
    assert np.array_equal(one, coloured(prior, noise(3)))
    assert np.allclose((one - prior.mean[:, None]) / prior.scale[:, None], noise(3))


@pytest.mark.parametrize("frames", [1, 3])
def test_fewer_frames_than_the_order_are_drawn(posteriors: list[Posterior], frames: int) -> None:
    drawn = coloured(linear(posteriors, 4), noise(frames=frames))
    assert drawn.shape == (D, frames)
    assert np.isfinite(drawn).all()


def test_a_draw_that_runs_away_and_another_latent_are_refused(posteriors: list[Posterior]) -> None:
    prior = linear(posteriors, 4)
    wild = replace(prior, weights=np.stack([1.2 * np.eye(D), *np.zeros((3, D, D))]))
    for frames in (200, FRAMES):
        with pytest.raises(PayloadError, match="grows without bound; fit again on more clips"):
            coloured(wild, noise(frames=frames))
    for other in (prior, GaussianPrior.fit(Moments.of(posteriors))):
        with pytest.raises(PayloadError, match="4 channels, the latent 3; fit again"):
            coloured(other, noise()[:3])
