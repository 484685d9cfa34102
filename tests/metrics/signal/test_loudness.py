"""Loudness against the levels that EBU Tech 3341 states for its signals, and its differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.metrics.signal.loudness import integrated_loudness
from rdbench.types import Status

RATE = 48000


def tone(decibels: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """1 kHz at a level in dBFS (of its peak) on two channels, (2, time)."""
    time = np.arange(round(seconds * rate)) / rate
    return np.tile(10 ** (decibels / 20) * np.sin(2 * math.pi * 1000 * time), (2, 1))


@pytest.mark.parametrize(
    ("parts", "loudness"),
    [
        # The first five cases of EBU Tech 3341 (2016), table 1: dBFS and seconds, LUFS ± 0.1 LU.
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_loudness_is_what_the_ebu_states(parts, loudness: float) -> None:
    signal = np.concatenate([tone(*part) for part in parts], axis=1)
    assert integrated_loudness(signal, RATE) == pytest.approx(loudness, abs=0.1)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_a_channel_alone_is_three_units_softer_at_any_rate(rate: int) -> None:
    one, two = (integrated_loudness(tone(-23, 5, rate)[:n], rate) for n in (1, 2))
    assert two == pytest.approx(-23.0, abs=0.1)
    assert two - one == pytest.approx(10 * math.log10(2), abs=1e-6)


def test_a_rest_shorter_than_a_step_does_not_count() -> None:
    signal = tone(-20, 3)
    rest = np.concatenate([signal, tone(-3, 0.099)], axis=1)
    assert integrated_loudness(rest, RATE) == integrated_loudness(signal, RATE)


def test_gain_is_the_difference_and_its_sign_does_not_count(read_clip, score_by) -> None:
    clip = read_clip("speech/vctk_p225_a.wav", rate=16000)
    assert score_by("loudness_difference", clip, clip, 16000).value == 0
    for decibels in (-3.0, 3.0):
        louder = clip * np.float32(10 ** (decibels / 20))
        score = score_by("loudness_difference", clip, louder, 16000)
        assert score.value == pytest.approx(3.0, abs=1e-3)


def test_silence_short_clips_and_many_channels_have_no_loudness(score_by) -> None:
    loud, silent = tone(-23, 1), np.zeros((2, RATE))
    for reference, reconstruction, name in (
        (silent, loud, "reference"),
        (loud, silent, "reconstruction"),
        (loud[:, :100], loud[:, :100], "reference"),
    ):
        score = score_by("loudness_difference", reference, reconstruction, RATE)
        assert score.status is Status.UNDEFINED
        assert score.reason == f"the {name} has no block of 0.4 s above -70 LUFS"
    six = np.tile(loud, (3, 1))
    assert "6 channels" in score_by("loudness_difference", six, six, RATE).reason
    broken = loud.copy()
    broken[0, 7] = math.nan
    assert score_by("loudness_difference", loud, broken, RATE).status is Status.FAILED
