"""Pitch of tones with a known F0, and what noise and a robot's voice do to that of speech."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.metrics.pitch.world import analysed
from rdbench.types import Status

RATE = 16000


def voice(hertz: float | np.ndarray, seconds: float = 1.0) -> np.ndarray:
    """A tone with the harmonics of a voice, (time,)."""
    count = round(seconds * RATE)
    phase = 2 * math.pi * np.cumsum(np.broadcast_to(hertz, count)) / RATE
    highest = int(7000 / np.max(hertz))
    wave = 0.1 * sum(np.sin(k * phase) / k for k in range(1, highest + 1))
    return np.asarray(wave, np.float32)


def noise(seconds: float = 1.0) -> np.ndarray:
    samples = 0.02 * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return samples.astype(np.float32)


@pytest.mark.parametrize("hertz", [90.0, 220.0, 440.0])
def test_f0_is_that_of_the_tone_and_noise_has_none(hertz: float) -> None:
    found = analysed(np.concatenate([voice(hertz), noise()]), RATE)
    assert found.f0[20:180] == pytest.approx(np.full(160, hertz), rel=1e-3)
    assert found.voiced[:195].mean() > 0.98
    assert found.voiced[210:].mean() < 0.02


@pytest.mark.parametrize("semitones", [-1.0, 2.0])
def test_a_shift_in_pitch_is_its_logarithm(semitones: float, score_by) -> None:
    glide = 200 * 2 ** np.linspace(0, 0.5, RATE)
    shifted = voice(glide * 2 ** (semitones / 12))
    score = score_by("lf0_rmse", voice(glide), shifted, RATE)
    assert score.value == pytest.approx(abs(semitones) / 12 * math.log(2), abs=1e-3)


def test_half_of_the_voice_lost_is_half_of_the_frames(score_by) -> None:
    sung = voice(200.0, 2.0)
    lost = np.concatenate([sung[:RATE], noise()])
    assert score_by("voicing_error", sung, lost, RATE).value == pytest.approx(50, abs=2)
    assert score_by("voicing_error", lost, sung, RATE).value == pytest.approx(50, abs=2)
    assert score_by("lf0_rmse", sung, lost, RATE).value < 0.01  # at the edge


def test_speech_keeps_its_pitch_under_gain_and_loses_it_in_noise(read_clip, score_by) -> None:
    clip = read_clip("speech/vctk_p225_a.wav", rate=RATE, seconds=2.0)
    noisy = clip + 0.05 * np.random.default_rng(0).standard_normal(clip.shape).astype(np.float32)
    for key in ("lf0_rmse", "voicing_error"):
        assert score_by(key, clip, clip, RATE).value == 0
        assert (
            score_by(key, clip, 0.5 * clip, RATE).value
            < 0.2 * score_by(key, clip, noisy, RATE).value
        )


def test_without_a_voice_there_is_no_score(score_by) -> None:
    tone, hiss = voice(200.0), noise()
    few = score_by("lf0_rmse", tone, hiss, RATE)
    assert few.status is Status.UNDEFINED
    assert few.reason.endswith("frames are voiced in both, and 10 are needed")
    none = score_by("voicing_error", hiss[:4000], tone[:4000], RATE)
    assert (none.status, none.reason) == (Status.UNDEFINED, "the reference has no voiced frame")


@pytest.mark.parametrize("key", ["lf0_rmse", "voicing_error", "mcd"])
def test_limits_have_reasons(key: str, score_by) -> None:
    tone = voice(200.0)
    silent = score_by(key, tone, 0 * tone, RATE)
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reconstruction is silent")
    long = np.tile(tone, 61)
    assert score_by(key, long, long, RATE).reason == (
        "61 s, and WORLD is given 60 s or less; shorten the excerpts"
    )
    assert score_by(key, tone[:800], tone[:800], RATE).reason == (
        "0.050 s is shorter than the 0.1 s needed"
    )
    broken = tone.copy()
    broken[9] = math.nan
    assert score_by(key, tone, broken, RATE).status is Status.FAILED
