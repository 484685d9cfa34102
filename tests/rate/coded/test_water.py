"""Steps by reverse water-filling: less output error at the rate of equal treatment."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rdbench.rate.coded import FittedCoder
from rdbench.rate.coded.water import WATER, fit_water
from rdbench.types import Posterior

GAIN = np.array([100.0, 1.0, 1.0, 1.0, 1e-4, 0.0])


def latent(seed: int, frames: int = 20_000) -> Posterior:
    """Six channels of variance 1 and one noise, whose gains differ."""
    mean = torch.randn(1, 6, frames, generator=torch.Generator().manual_seed(seed))
    return Posterior(mean, torch.full_like(mean, 0.2), torch.tensor([frames]), 50.0)


def test_output_error_falls_at_an_equal_rate() -> None:
    fit, test = latent(1), latent(2)
    plain, water = FittedCoder.fit([fit]), fit_water([fit], GAIN)
    assert water.name == WATER
    coded = [coder.code(test)[0] for coder in (plain, water)]
    assert coded[1].bits == pytest.approx(coded[0].bits, rel=0.01)
    errors = [GAIN @ np.square(one.values - test.mean[0].numpy()).mean(axis=1) for one in coded]
    assert errors[1] < 0.6 * errors[0]


def test_live_channels_share_one_level_and_what_does_not_matter_is_dropped() -> None:
    water = fit_water([latent(1)], GAIN)
    live = [c for c in water.channels if not isinstance(c, float)]
    assert [isinstance(c, float) for c in water.channels] == [False] * 4 + [True] * 2
    level = GAIN[:4] * np.square([c.step for c in live])
    np.testing.assert_allclose(level, level[0], rtol=1e-9)


def test_equal_gains_give_the_steps_of_the_noise() -> None:
    water, plain = fit_water([latent(1)], np.ones(6)), FittedCoder.fit([latent(1)])
    for one, other in zip(water.channels, plain.channels, strict=True):
        assert one.step == pytest.approx(other.step, rel=0.01)  # type: ignore[union-attr]
