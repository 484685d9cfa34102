"""Moments of latents: those of what was fitted on, whole in JSON, and refused where damaged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from posteriors import posterior

from rdbench.rate.coded.fitted import FittedLatent
from rdbench.rate.kl import kl_bits
from rdbench.rate.latent_moments import LatentMoments
from rdbench.rate.prior import GaussianPrior, Moments
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior


def test_moments_are_those_of_the_frames_that_are_valid() -> None:
    latent = posterior(0)
    cut = Posterior(latent.mean, latent.scale, torch.tensor([400, 250]), 50.0)
    found = LatentMoments.fit([cut])
    frames = torch.cat([latent.mean[0], latent.mean[1, :, :250]], dim=1).double().numpy()
    np.testing.assert_allclose(found.mean, frames.mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(found.spread, frames.std(axis=1), rtol=1e-9)
    covariance = np.cov(frames, bias=True) + np.diag(np.square(found.noise))
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-9)
    np.testing.assert_allclose(found.scale**2, np.diag(covariance), rtol=1e-9)
    prior = GaussianPrior.fit(Moments.of([cut]))
    np.testing.assert_allclose(found.scale, prior.scale)


def test_the_kl_of_the_channels_is_the_rate() -> None:
    latent = posterior(1)
    found = LatentMoments.fit([latent])
    assert found.kl is not None
    nats = float(kl_bits(latent).sum()) * math.log(2) / 800
    assert found.kl.sum() == pytest.approx(nats, rel=1e-5)
    assert found.kl[0] > found.kl[1] > found.kl[2] > found.kl[3]


def test_quantiles_are_those_of_samples() -> None:
    scale = torch.full((1, 2, 200_000), 0.6)
    mean = 0.8 * torch.randn(scale.shape, generator=torch.Generator().manual_seed(0))
    mean[:, 1] += 3
    found = LatentMoments.fit([Posterior(mean, scale, torch.tensor([200_000]), 50.0)])
    np.testing.assert_allclose(found.low, [-3.09, -0.09], atol=0.06)
    np.testing.assert_allclose(found.high, [3.09, 6.09], atol=0.06)


def test_a_latent_without_a_posterior_has_all_but_a_kl() -> None:
    found = LatentMoments.fit([posterior(2, scale=False)])
    assert found.kl is None
    assert (found.noise == 0).all()
    np.testing.assert_array_equal(found.scale, found.spread)
    back = LatentMoments.from_json(json.loads(json.dumps(found.as_json())))
    assert back.kl is None


def test_what_was_saved_is_what_is_loaded_and_older_files_have_none() -> None:
    latent = posterior(3)
    fitted = FittedLatent.fit([latent], Moments.of([latent]))
    content = json.loads(json.dumps(fitted.as_json()))
    back = FittedLatent.from_json(content)
    assert back.moments is not None
    assert fitted.moments is not None
    assert back.moments.digest == fitted.moments.digest
    other = LatentMoments.fit([posterior(4)])
    assert other.digest != fitted.moments.digest
    del content["moments"]
    assert FittedLatent.from_json(content).moments is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("noise", [-1.0] * 4), ("low", [9.0] * 4), ("mean", [math.nan] * 4), ("covariance", [1.0]),
     ("high", [1.0]), ("spread", None)],
)  # fmt: skip
def test_impossible_numbers_are_refused(name: str, value: object) -> None:
    content = LatentMoments.fit([posterior(5)]).as_json() | {name: value}
    with pytest.raises(PayloadError, match="fitted moments of a latent"):
        LatentMoments.from_json(content)


def test_nothing_is_fitted_on_what_is_no_latent() -> None:
    latent = posterior(6)
    latent.mean[0, 0, 0] = math.nan
    with pytest.raises(PayloadError, match="not finite"):
        LatentMoments.fit([latent])
    one = Posterior(torch.zeros(1, 2, 1), None, torch.tensor([1]), 50.0)
    with pytest.raises(PayloadError, match="two frames"):
        LatentMoments.fit([one])
