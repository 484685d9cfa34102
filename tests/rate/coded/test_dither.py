"""Dither: errors are noise of the stated variance, whatever the mean, at the price theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from posteriors import restless
from scipy import stats

from rdbench.rate.coded.base import LatentClip
from rdbench.rate.coded.dither import DitheredCoder
from rdbench.rate.coded.profile import Profile
from rdbench.rate.coded.trellis import STATES_256, UNIFORM, Trellis
from rdbench.types import Posterior

FRAMES = 20_000


def gaussian(noise: float, *, frames: int = FRAMES) -> tuple[Posterior, Profile]:
    """One channel of variance 1 − noise² and its exact profile."""
    generator = torch.Generator().manual_seed(1)
    spread = math.sqrt(1.0 - noise**2)
    mean = spread * torch.randn(1, 1, frames, generator=generator)
    test = Posterior(mean, torch.full_like(mean, noise), torch.tensor([frames]), 50.0)
    one = [np.array([[value]]) for value in (0.0, spread, noise)]
    return test, Profile(np.ones((1, 1), np.int64), *one)


def errors(trellis: Trellis, noise: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Errors in units of the noise, means, and bits for each frame."""
    test, profile = gaussian(noise)
    (coded,) = DitheredCoder(trellis, profile).code(test, seeds=[5])
    mean = test.mean[0, 0].double().numpy()
    return (coded.values[0] - mean) / noise, mean, coded.bits / FRAMES


@pytest.mark.parametrize("noise", [0.1, 0.5, 0.9])
def test_the_error_of_dithered_steps_is_uniform_and_independent_of_the_mean(noise: float) -> None:
    error, mean, _ = errors(UNIFORM, noise)
    half = math.sqrt(3.0)  # Δ/2 with Δ = √12 n
    assert np.abs(error).max() <= half + 1e-5
    assert stats.kstest(error, "uniform", args=(-half, 2 * half)).pvalue > 1e-3
    assert np.square(error).mean() == pytest.approx(1.0, rel=0.02)  # Δ²/12 = n²
    for low, high in zip(np.quantile(mean, [0, 0.2, 0.5, 0.8]),
                         np.quantile(mean, [0.2, 0.5, 0.8, 1]), strict=True):  # fmt: skip
        part = error[(mean >= low) & (mean < high)]
        assert stats.kstest(part, "uniform", args=(-half, 2 * half)).pvalue > 1e-4


@pytest.mark.parametrize("noise", [0.1, 0.5, 0.9])
def test_the_error_of_the_trellis_has_the_noise_s_variance_whatever_the_mean(noise: float) -> None:
    error, mean, _ = errors(STATES_256, noise)
    assert np.square(error).mean() == pytest.approx(1.0, rel=0.03)
    assert abs(np.corrcoef(error, mean)[0, 1]) < 0.025
    assert abs(np.corrcoef(np.square(error), np.square(mean))[0, 1]) < 0.025
    assert stats.kurtosis(error) == pytest.approx(-0.22, abs=0.12)  # uniform: −1.2, Gaussian: 0


@pytest.mark.parametrize(
    ("trellis", "noise", "excess"),
    [(UNIFORM, 0.1, 0.2546), (UNIFORM, 0.5, 0.2516), (STATES_256, 0.1, 0.0329)],
)
def test_a_gaussian_channel_costs_its_kl_and_what_the_shape_of_the_cell_loses(
    trellis: Trellis, noise: float, excess: float
) -> None:
    _, _, bits = errors(trellis, noise)
    assert bits - math.log2(1.0 / noise) == pytest.approx(excess, abs=0.015)


def test_bits_are_the_mutual_information_at_low_rates() -> None:
    # I(μ; μ + e) of a Gaussian and a uniform error, by numerical integration of the density.
    noise, frames = 0.9, 100_000
    test, profile = gaussian(noise, frames=frames)
    mean = test.mean[0].double().numpy()
    stream, _ = DitheredCoder(UNIFORM, profile).encode(LatentClip(mean, None, seed=5))
    bits = stream.bits / frames
    spread, step = math.sqrt(1 - noise**2), math.sqrt(12.0) * noise
    y = np.linspace(-6, 6, 200_001)
    p = (stats.norm.cdf((y + step / 2) / spread) - stats.norm.cdf((y - step / 2) / spread)) / step
    entropy = -np.sum(p * np.log2(np.maximum(p, 1e-300))) * (y[1] - y[0])
    # Three standard errors of so many frames. The index without u has 1.0 bit.
    assert bits == pytest.approx(entropy - math.log2(step), abs=0.008)


def test_channels_that_carry_little_are_drawn_and_cost_nothing() -> None:
    test, profile = gaussian(0.99)
    (coded,) = DitheredCoder(STATES_256, profile).code(test, seeds=[5])
    assert coded.bits == 0
    assert stats.kstest(coded.values[0], "norm").pvalue > 1e-3


def test_every_frame_has_the_noise_of_its_class() -> None:
    profile, test = Profile.fit([restless(1, clips=12)]), restless(2, clips=8)
    for trellis in (UNIFORM, STATES_256):
        coded = DitheredCoder(trellis, profile).code(test, seeds=range(8))
        pairs = zip(coded, test.mean.numpy(), strict=True)
        error = np.concatenate([one.values - mean for one, mean in pairs], axis=1)
        scale = np.concatenate(list(test.scale.double().numpy()), axis=1)  # type: ignore[union-attr]
        member = profile.classify(scale, scale.shape[1])
        for k, noise in enumerate(profile.noise):
            live = profile.carrying(0.1)[k]
            found = np.square(error[live][:, member == k]).mean(axis=1) / noise[live] ** 2
            np.testing.assert_allclose(found, 1.0, atol=0.25)
            assert found.mean() == pytest.approx(1.0, abs=0.06)


def test_other_seeds_give_other_noise_and_the_same_seed_the_same() -> None:
    coder, test = DitheredCoder(UNIFORM, Profile.fit([restless(1)])), restless(2, clips=1)
    one, same, other = (coder.code(test, seeds=[seed])[0].values for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()
