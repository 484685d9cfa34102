"""The stereo image of noise with known levels and correlation, and of what was made of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.types import Status

RATE = 44100
KEYS = ("stereo_level", "stereo_correlation")


@pytest.fixture(scope="module")
def noises() -> np.ndarray:
    """Two channels of white noise that have nothing in common."""
    return 0.1 * np.random.default_rng(0).standard_normal((2, 4 * RATE)).astype(np.float32)


def correlated(noises: np.ndarray, r: float) -> np.ndarray:
    """Two channels of one level with the correlation r."""
    return np.stack([noises[0], r * noises[0] + math.sqrt(1 - r * r) * noises[1]])


def test_an_identity_and_a_gain_change_nothing(noises, score_by) -> None:
    for key in KEYS:
        assert score_by(key, noises, noises, RATE).value == 0
        assert score_by(key, noises, noises / 2, RATE).value == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("decibels", [-6.0, 2.0])
def test_a_gain_of_one_channel_is_the_level_difference(noises, decibels: float, score_by) -> None:
    panned = noises * np.array([[10 ** (decibels / 20)], [1]])
    assert score_by("stereo_level", noises, panned, RATE).value == pytest.approx(
        abs(decibels), abs=1e-3
    )
    assert score_by("stereo_correlation", noises, panned, RATE).value == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("r", [0.0, 0.6, -0.9])
def test_mono_costs_one_less_the_correlation(noises, r: float, score_by) -> None:
    stereo = correlated(noises, r)
    mono = np.tile(stereo.mean(0), (2, 1))
    score = score_by("stereo_correlation", stereo, mono, RATE)
    assert score.value == pytest.approx(1 - r, abs=0.02)


def test_the_other_polarity_of_a_channel_costs_two(noises, score_by) -> None:
    same = np.tile(noises[0], (2, 1))
    turned = same * np.array([[1], [-1]])
    assert score_by("stereo_correlation", same, turned, RATE).value == pytest.approx(2, abs=1e-3)
    assert score_by("stereo_level", same, turned, RATE).value == pytest.approx(0, abs=1e-3)


def test_levels_are_cut_and_a_side_of_silence_is_far(noises, score_by) -> None:
    left = noises * np.array([[1], [0]])
    assert score_by("stereo_level", left, left[::-1], RATE).value == pytest.approx(80, abs=1e-3)
    assert score_by("stereo_level", left, 0 * left, RATE).value == pytest.approx(40, abs=1e-3)


def test_a_real_clip_in_mono_has_lost_its_image(read_clip, score_by) -> None:
    clip = read_clip("music/loop_perc1.flac", rate=RATE)
    narrower, mono = (w * clip + (1 - w) * clip.mean(0, keepdims=True) for w in (0.5, 0.0))
    for key in KEYS:
        half, none = (score_by(key, clip, worse, RATE).value for worse in (narrower, mono))
        assert 0 < half < none


@pytest.mark.parametrize("channels", [1, 3])
def test_other_layouts_have_no_image(channels: int, score_by) -> None:
    clip = np.ones((channels, RATE))
    for key in KEYS:
        score = score_by(key, clip, clip, RATE)
        assert score.status is Status.UNDEFINED
        assert score.reason.startswith(f"{channels} channel")


def test_silence_is_undefined_and_samples_that_are_not_finite_fail(noises, score_by) -> None:
    for key in KEYS:
        silent = score_by(key, 0 * noises, noises, RATE)
        assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reference is silent")
        broken = noises.copy()
        broken[1, 5000] = math.nan
        assert score_by(key, noises, broken, RATE).status is Status.FAILED
        assert score_by(key, broken, noises, RATE).status is Status.FAILED
