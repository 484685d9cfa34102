"""Gaussian priors with full covariance and with a past: closed forms, and rungs in order."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from posteriors import posterior

from rdbench.rate.kl import kl_bits
from rdbench.rate.linear import MOST_CHANNELS, ORDER, LinearGaussian
from rdbench.rate.prior import GaussianPrior, Moments
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior

SIGMA = 1e-3
RHO = 0.9


def made(mean: torch.Tensor) -> Posterior:
    """Means (clips, channels, frames) with a little posterior noise around them."""
    frames = torch.full((len(mean),), mean.shape[-1])
    return Posterior(mean, torch.full_like(mean, SIGMA), frames, 50.0)


def autoregressive(seed: int, clips: int = 12, channels: int = 3, frames: int = 2000) -> Posterior:
    """Unit-variance AR(1) means of each channel."""
    noise = torch.randn(clips, channels, frames, generator=torch.Generator().manual_seed(seed))
    rows = [noise[..., 0].double()]
    for t in range(1, frames):
        rows.append(RHO * rows[-1] + math.sqrt(1 - RHO**2) * noise[..., t].double())
    return made(torch.stack(rows, dim=-1))


def fitted(source: Posterior, order: int) -> LinearGaussian:
    found = LinearGaussian.fit([source], Moments.of([source]), order)
    assert found is not None
    return found


def per_frame(model: LinearGaussian, test: Posterior) -> float:
    """Nats per frame."""
    bits = model.kl_bits(test)
    return math.log(2) * float(np.concatenate(bits).mean())


def test_an_autoregression_has_its_closed_entropy_rate() -> None:
    test = autoregressive(1)
    model = fitted(autoregressive(0), ORDER)
    np.testing.assert_allclose(model.weights[0], RHO * np.eye(3), atol=0.03)
    entropy = 0.5 * math.log(2 * math.pi * math.e * (1 - RHO**2))
    of_posterior = 0.5 * math.log(2 * math.pi * math.e * SIGMA**2)
    assert per_frame(model, test) == pytest.approx(3 * (entropy - of_posterior), rel=0.005)
    white = 3 * (0.5 * math.log(2 * math.pi * math.e) - of_posterior)
    assert per_frame(fitted(autoregressive(0), 0), test) == pytest.approx(white, rel=0.005)


def planted(seed: int) -> Posterior:
    """Four channels, of which two and two have correlation 0.8."""
    base = torch.randn(10, 4, 500, generator=torch.Generator().manual_seed(seed))
    mixed = torch.stack([base[:, 0], 0.8 * base[:, 0] + 0.6 * base[:, 1],
                         base[:, 2], 0.8 * base[:, 2] + 0.6 * base[:, 3]], dim=1)  # fmt: skip
    return made(mixed)


def test_planted_correlation_is_found_and_is_worth_its_mutual_information() -> None:
    fit, test = planted(0), planted(1)
    model = fitted(fit, 0)
    diagonal = kl_bits(test, GaussianPrior.fit(Moments.of([fit]))).sum(dim=(1, 2)).mean() / 500
    saved = math.log(2) * float(diagonal) - per_frame(model, test)
    assert saved == pytest.approx(-0.5 * 2 * math.log(1 - 0.8**2), rel=0.03)


def test_the_divergence_is_the_closed_form_of_torch() -> None:
    test, model = posterior(5, clips=1, frames=40), fitted(posterior(6), 0)
    assert test.scale is not None
    inverse = np.linalg.inv(model.whitening)
    prior = torch.distributions.MultivariateNormal(
        torch.from_numpy(model.mean), torch.from_numpy(inverse @ inverse.T)
    )
    own = torch.distributions.MultivariateNormal(
        test.mean[0].T.double(), torch.diag_embed(test.scale[0].T.double().square())
    )
    expected = torch.distributions.kl_divergence(own, prior) / math.log(2)
    np.testing.assert_allclose(model.kl_bits(test)[0], expected, rtol=1e-6)


def test_the_expectation_over_a_sampled_past_is_the_mean_over_samples() -> None:
    test, model = posterior(5, clips=1, frames=12), fitted(autoregressive_of_four(), ORDER)
    assert test.scale is not None
    generator = torch.Generator().manual_seed(0)
    mean, scale = test.mean[0].T.double(), test.scale[0].T.double()
    noise = torch.randn(20000, *mean.shape, generator=generator, dtype=torch.float64)
    z = (mean + scale * noise).numpy() - model.mean
    past = [z[:, ORDER - k : 12 - k] for k in range(1, ORDER + 1)]
    error = z[:, ORDER:] - sum(p @ a.T for p, a in zip(past, model.weights, strict=True))
    log_p = -0.5 * np.square(error @ model.whitening.T).sum(-1) - 2 * math.log(2 * math.pi)
    log_p += np.log(np.diagonal(model.whitening)).sum()
    log_q = -0.5 * noise.square().sum(-1) - scale.log().sum(-1) - 2 * math.log(2 * math.pi)
    sampled = (log_q[:, ORDER:].numpy() - log_p).mean(axis=0) / math.log(2)
    np.testing.assert_allclose(model.kl_bits(test)[0][ORDER:], sampled, rtol=0.02)


def autoregressive_of_four() -> Posterior:
    return autoregressive(3, channels=4, frames=300)


@pytest.mark.parametrize("make", [planted, autoregressive, posterior])
def test_each_rung_is_at_most_the_one_before(make: object) -> None:
    fit, test = make(0), make(1)  # type: ignore[operator]
    moments = Moments.of([fit])
    rungs = [
        float(kl_bits(test).sum()),
        float(kl_bits(test, GaussianPrior.fit(moments)).sum()),
        *(float(np.concatenate(fitted(fit, order).kl_bits(test)).sum()) for order in (0, ORDER)),
    ]
    for upper, lower in pairwise(rungs):
        assert lower <= 1.002 * upper


def test_a_posterior_that_is_the_prior_costs_nothing() -> None:
    mean = torch.zeros(2, 3, 50)
    none = Posterior(mean, torch.ones_like(mean), torch.tensor([50, 20]), 50.0)
    for order in (0, ORDER):
        for bits in fitted(none, order).kl_bits(none):
            np.testing.assert_allclose(bits, 0.0, atol=1e-6)


def test_few_frames_lean_to_the_diagonal_and_stay_near_it() -> None:
    fit = made(torch.randn(2, 40, 30, generator=torch.Generator().manual_seed(0)))
    test = made(torch.randn(4, 40, 100, generator=torch.Generator().manual_seed(1)))
    diagonal = float(kl_bits(test, GaussianPrior.fit(Moments.of([fit]))).sum())
    for order in (0, ORDER):
        bits = float(np.concatenate(fitted(fit, order).kl_bits(test)).sum())
        assert bits < 1.03 * diagonal


def test_the_first_frames_have_the_covariance_alone_and_padding_is_left_out() -> None:
    fit, test = autoregressive_of_four(), posterior(8, clips=2, frames=30)
    full, linear = fitted(fit, 0), fitted(fit, ORDER)
    np.testing.assert_allclose(linear.kl_bits(test)[0][:ORDER], full.kl_bits(test)[0][:ORDER])
    short = replace(test, frames=torch.tensor([2, 30]))
    bits = linear.kl_bits(short)
    np.testing.assert_allclose(bits[0], full.kl_bits(short)[0])
    np.testing.assert_allclose(bits[1], linear.kl_bits(test)[1])


def test_what_is_stored_is_what_was_fitted() -> None:
    model = fitted(autoregressive_of_four(), ORDER)
    content = json.loads(json.dumps(model.as_json()))
    back = LinearGaussian.from_json(content)
    assert back.digest == model.digest
    np.testing.assert_array_equal(back.weights, model.weights)
    for damaged in ({"order": 3}, {"channels": -4}, {"float32": content["float32"][:-8]}):
        with pytest.raises(ValueError, match="impossible"):
            LinearGaussian.from_json(content | damaged)


def test_what_cannot_be_fitted_is_none_or_an_error() -> None:
    short = posterior(1, clips=4, frames=ORDER)
    assert LinearGaussian.fit([short], Moments.of([short]), ORDER) is None
    assert LinearGaussian.fit([short], Moments.of([short]), 0) is not None
    wide = made(torch.zeros(2, MOST_CHANNELS + 1, 2))
    assert LinearGaussian.fit([wide], Moments.of([wide]), 0) is None
    bare = posterior(1, scale=False)
    with pytest.raises(PayloadError, match="no KL"):
        LinearGaussian.fit([bare], Moments.of([bare]), 0)
    with pytest.raises(PayloadError, match="3 channels, the posterior 4"):
        fitted(made(torch.randn(2, 3, 20)), 0).kl_bits(posterior(1))
