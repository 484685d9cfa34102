"""Profiles: classes of frames that fit their noise, numbers that come back, openings of streams."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from posteriors import posterior, restless

from rdbench.rate.coded.base import LatentClip
from rdbench.rate.coded.profile import Profile, read_opening, write_opening
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior


def two_levels(seed: int, frames: int = 400) -> Posterior:
    """Frames of two kinds in runs of 20: all scales 0.1, or all 0.9."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.arange(frames) // 20 % 2
    sigma = torch.where(kind == 0, 0.1, 0.9)[None, None].repeat(1, 5, 1)
    mean = (1 - sigma**2).sqrt() * torch.randn(1, 5, frames, generator=generator)
    return Posterior(mean, sigma, torch.tensor([frames]), 50.0)


def test_classes_are_the_kinds_of_frames_that_there_are() -> None:
    profile = Profile.fit([two_levels(0)], classes=2)
    np.testing.assert_allclose(np.sort(profile.noise[:, 0]), [0.1, 0.9], rtol=1e-4)
    found = profile.classify(two_levels(1).scale[0].double().numpy(), 400)  # type: ignore[index]
    runs = np.flatnonzero(np.diff(found)) + 1
    np.testing.assert_array_equal(runs, np.arange(20, 400, 20))
    stay = profile.weights[np.arange(2), np.arange(2)] / profile.weights.sum(axis=1)
    np.testing.assert_allclose(stay, 0.95, atol=0.01)


def test_more_classes_than_kinds_are_given_up_and_no_scale_has_one() -> None:
    steady = two_levels(0)
    steady.scale[:] = 0.5  # type: ignore[index]
    assert len(Profile.fit([steady]).noise) == 1
    without = posterior(1, scale=False)
    profile = Profile.fit([without])
    assert len(profile.noise) == 1
    np.testing.assert_allclose(profile.noise, 0.1 * profile.spread, rtol=1e-3)


def test_spread_and_noise_are_those_of_the_frames_of_a_class() -> None:
    fit = restless(1, clips=6)
    profile = Profile.fit([fit])
    mean = np.concatenate(list(fit.mean.double().numpy()), axis=1)
    scale = np.concatenate(list(fit.scale.double().numpy()), axis=1)  # type: ignore[union-attr]
    member = profile.classify(scale, scale.shape[1])
    for k in range(len(profile.noise)):
        here = member == k
        noise = np.sqrt(np.square(scale[:, here]).mean(axis=1))
        np.testing.assert_allclose(profile.noise[k], noise, rtol=0.02)
        np.testing.assert_allclose(profile.spread[k], mean[:, here].std(axis=1), rtol=0.05)


def test_a_profile_comes_back_from_its_json() -> None:
    profile = Profile.fit([restless(1)])
    back = Profile.from_json(json.loads(json.dumps(profile.as_json())))
    assert back.digest == profile.digest
    np.testing.assert_array_equal(back.noise, profile.noise)


@pytest.mark.parametrize(
    ("key", "value"),
    [("noise", [[1.0]]), ("weights", [[0]]), ("spread", None), ("centre", [[float("nan")]])],
)
def test_a_damaged_profile_is_refused(key: str, value: object) -> None:
    content = {**Profile.fit([posterior(1, scale=False)]).as_json(), key: value}
    with pytest.raises(PayloadError, match="fit-entropy"):
        Profile.from_json(content)
    with pytest.raises(PayloadError, match="two frames"):
        Profile.fit([posterior(1, clips=1, frames=1)])


@pytest.mark.parametrize("fitted", [True, False])
def test_what_opens_a_stream_is_read_back(fitted: bool) -> None:
    import constriction

    test = restless(2, clips=1)
    scale = test.scale[0].double().numpy()  # type: ignore[index]
    clip = LatentClip(test.mean[0].double().numpy(), scale)
    profile = Profile.fit([restless(1, clips=6)]) if fitted else None
    encoder = constriction.stream.queue.RangeEncoder()
    sent = write_opening(encoder, profile, clip)
    words = encoder.get_compressed()
    assert abs(32 * len(words) - sent.bits) < 64
    decoder = constriction.stream.queue.RangeDecoder(words)
    read = read_opening(decoder, profile, 300, 8)
    np.testing.assert_array_equal(read.classes, sent.classes)
    assert read.profile.digest == sent.profile.digest
    if not fitted:  # quarters of an octave
        np.testing.assert_allclose(np.log2(sent.profile.noise[0] / clip.noise), 0, atol=0.13)
        found = sent.profile.centre[0] - clip.mean.mean(axis=1)
        assert (np.abs(found) <= 0.51 * sent.profile.noise[0]).all()
