"""Mel-cepstra against the warped spectrum that they stand for, and the distortion of filters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.metrics.pitch.cepstral import ALPHA, mel_cepstrum

RATE = 16000
BINS = 513


def warped(omega: np.ndarray) -> np.ndarray:
    """Phase of the all-pass (z⁻¹ - α) / (1 - α z⁻¹) at ω, turned round: the mel-like frequency."""
    return omega + 2 * np.arctan(ALPHA * np.sin(omega) / (1 - ALPHA * np.cos(omega)))


@pytest.mark.parametrize("term", [0, 1, 3, 24])
def test_a_cosine_on_the_warped_axis_is_one_coefficient(term: int) -> None:
    omega = np.linspace(0, math.pi, BINS)
    envelope = np.exp(2 * 0.3 * np.cos(term * warped(omega)))[None]
    expected = np.zeros((1, 25))
    expected[0, term] = 0.3
    assert mel_cepstrum(envelope) == pytest.approx(expected, abs=1e-9)


def test_gain_moves_the_level_alone() -> None:
    envelope = np.random.default_rng(0).uniform(0.1, 1, (3, BINS))
    change = mel_cepstrum(4 * envelope) - mel_cepstrum(envelope)
    assert change[:, 0] == pytest.approx(math.log(2), abs=1e-9)
    assert change[:, 1:] == pytest.approx(0, abs=1e-9)


def test_a_filter_costs_its_own_mel_cepstrum(read_clip, score_by) -> None:
    """A filter adds its mel-cepstrum to that of every frame, so that its length is the score."""
    clip = read_clip("speech/LJ001-0001.wav", rate=RATE, seconds=1.0)
    omega = np.linspace(0, math.pi, BINS)
    response = 1 + 0.3 * np.exp(-1j * omega)  # y[n] = x[n] + 0.3 x[n-1], of minimum phase
    filtered = clip.copy()
    filtered[:, 1:] += 0.3 * clip[:, :-1]
    own = mel_cepstrum(np.abs(response)[None] ** 2)[0, 1:]
    expected = 10 / math.log(10) * math.sqrt(2 * np.square(own).sum())
    assert score_by("mcd", clip, clip, RATE).value == 0
    assert score_by("mcd", clip, 0.5 * clip, RATE).value == pytest.approx(0, abs=0.05)
    assert score_by("mcd", clip, filtered, RATE).value == pytest.approx(expected, rel=0.05)


def test_noise_and_quantization_score_worse_as_they_grow(read_clip, score_by) -> None:
    clip = read_clip("speech/vctk_p225_a.wav", rate=RATE, seconds=1.5)
    hiss = np.random.default_rng(0).standard_normal(clip.shape).astype(np.float32)
    values = [score_by("mcd", clip, clip + level * hiss, RATE).value for level in (0.001, 0.01)]
    assert 0 < values[0] < values[1]
