"""Moments of posteriors, and the Gaussian prior that is fitted to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from posteriors import posterior

from rdbench.rate.kl import kl_bits
from rdbench.rate.prior import GaussianPrior, Moments
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior


def test_the_fitted_prior_is_the_best_gaussian_and_never_worse_than_the_standard_one() -> None:
    fit = posterior(12, clips=4)
    prior = GaussianPrior.fit(Moments.of([fit]))
    best = kl_bits(fit, prior).sum()
    assert best < kl_bits(fit).sum()
    for moved in (
        GaussianPrior(prior.mean + 0.02, prior.scale),
        GaussianPrior(prior.mean, 1.02 * prior.scale),
        GaussianPrior(prior.mean, 0.98 * prior.scale),
    ):
        assert kl_bits(fit, moved).sum() > best


def test_kl_to_a_prior_is_the_closed_form() -> None:
    test = posterior(13)
    assert test.scale is not None
    prior = GaussianPrior(np.array([0.1, -0.2, 0.3, 0.2]), np.array([0.9, 1.1, 1.3, 1.0]))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(test.mean.double(), test.scale.double()),
        torch.distributions.Normal(
            torch.from_numpy(prior.mean)[:, None], torch.from_numpy(prior.scale)[:, None]
        ),
    )
    torch.testing.assert_close(kl_bits(test, prior), expected / math.log(2), rtol=1e-9, atol=1e-9)


def test_moments_do_not_depend_on_how_clips_are_batched() -> None:
    whole = posterior(15, clips=4)
    assert whole.scale is not None
    parts = [
        Posterior(whole.mean[i : i + 1], whole.scale[i : i + 1], whole.frames[i : i + 1], 50.0)
        for i in range(4)
    ]
    one, many = Moments.of([whole]), Moments.of(parts)
    np.testing.assert_allclose(one.spread, many.spread, rtol=1e-12)
    np.testing.assert_allclose(one.noise, many.noise, rtol=1e-6)


def test_a_prior_of_a_latent_without_scale_is_refused() -> None:
    with pytest.raises(PayloadError, match="no KL"):
        GaussianPrior.fit(Moments.of([posterior(1, scale=False)]))
