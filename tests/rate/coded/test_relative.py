"""Relative-entropy coding: the decoder has a sample of the posterior, and pays what is stated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from posteriors import restless
from scipy import stats

from rdbench.rate.coded import relative
from rdbench.rate.coded.profile import Profile
from rdbench.rate.coded.relative import RelativeCoder
from rdbench.rate.kl import kl_bits
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior


def test_what_is_decoded_is_a_sample_of_the_posterior() -> None:
    profile, test = Profile.fit([restless(1, clips=8)]), restless(2, clips=3, frames=200)
    coded = RelativeCoder(profile).code(test, seeds=[1, 2, 3])
    assert test.scale is not None
    noise = np.concatenate(
        [(one.values - m.numpy()) / s.numpy()
         for one, m, s in zip(coded, test.mean, test.scale, strict=True)], axis=1
    )  # fmt: skip
    assert noise.mean() == pytest.approx(0.0, abs=0.04)
    # As many candidates as there are leave tails that are a little heavy.
    assert np.square(noise).mean() == pytest.approx(1.03, abs=0.06)
    assert stats.kstest(noise.ravel(), "norm").statistic < 0.025
    mean = np.concatenate(list(test.mean.numpy()), axis=1)
    assert abs(np.corrcoef(noise.ravel(), mean.ravel())[0, 1]) < 0.05
    across = np.corrcoef(noise)[np.triu_indices(8, 1)]
    assert np.abs(across).max() < 0.15  # channels of one block are drawn together
    kl = float(kl_bits(test).sum())
    assert 1.2 < sum(one.bits for one in coded) / kl < 1.5


def test_a_block_of_more_than_its_share_is_halved_and_a_far_channel_rounded() -> None:
    test = restless(3, clips=1, frames=40)
    assert test.scale is not None
    test.mean[0, :, 7], test.scale[0, :, 7] = 4.0, 0.001
    test.mean[0, 2, 9] = 500.0
    for coder in (RelativeCoder(Profile.fit([restless(1, clips=8)])), RelativeCoder()):
        (coded,) = coder.code(test, seeds=[4])
        error = np.abs(coded.values - test.mean[0].numpy()) / test.scale[0].numpy()
        others = np.delete(error, [7, 9], axis=1)
        assert others.max() < 6.0
        assert np.abs(coded.values - test.mean[0].numpy())[:, 7].max() < 0.05 * 4.0
        assert abs(coded.values[2, 9] - 500.0) < 5.0


def test_a_sample_out_of_any_range_is_refused_and_one_without_scale_too() -> None:
    coder, test = RelativeCoder(Profile.fit([restless(1)])), restless(3, clips=1, frames=10)
    with pytest.raises(PayloadError, match=r"clip 0 .*no scale.*coded_sample"):
        coder.code(Posterior(test.mean, None, test.frames, 50.0))
    test.mean[0, 0, 0] = 1e9
    with pytest.raises(PayloadError, match=r"'a'.*standard deviations"):
        coder.code(test, names=["a"])


def test_every_channel_that_carries_anything_is_in_one_block() -> None:
    profile = Profile.fit([restless(1, clips=8)])
    opening = relative.Opening(profile, np.arange(len(profile.noise)), 0.0)
    blocks = relative._blocks(opening)
    for k in range(len(profile.noise)):
        found = np.concatenate([one.channels for one in blocks if one.frame == k])
        np.testing.assert_array_equal(found, np.flatnonzero(profile.carrying(0.01)[k]))
        for one in (one for one in blocks if one.frame == k):
            bits = np.log2(profile.total[k] / profile.noise[k])[one.channels]
            assert bits.sum() <= relative.BLOCK_BITS + bits.max()


def test_a_latent_that_says_nothing_is_drawn_by_the_decoder() -> None:
    test = Posterior(torch.zeros(1, 4, 50), torch.ones(1, 4, 50), torch.tensor([50]), 50.0)
    profile = Profile.fit([test])
    (coded,) = RelativeCoder(profile).code(test, seeds=[1])
    assert coded.bits == 0
    assert stats.kstest(coded.values.ravel(), "norm").pvalue > 1e-3
