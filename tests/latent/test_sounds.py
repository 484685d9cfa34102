"""Numbers beside sounds, against what they must be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.latent import sounds


def tone(hertz: float, rate: int = 16000, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    return np.sin(2 * np.pi * hertz * time).astype(np.float32)[None]


def test_level_is_that_of_the_mean_square() -> None:
    assert sounds.level_dbfs(tone(440)) == pytest.approx(-3.01, abs=0.01)
    assert sounds.level_dbfs(tone(440) / 10) == pytest.approx(-23.01, abs=0.01)
    assert sounds.level_dbfs(np.zeros((1, 100), np.float32)) == sounds.SILENT_DBFS
    assert sounds.level_dbfs(np.zeros((1, 0), np.float32)) == sounds.SILENT_DBFS


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_full_scale_tone_is_near_0_db_and_silence_at_the_floor(rate: int) -> None:
    found = sounds.log_mel(tone(1000, rate), rate)
    assert found.shape[1] == sounds.BANDS
    assert -1.0 < np.median(found.max(axis=1)) < 6.0
    assert (sounds.log_mel(np.zeros((2, 50), np.float32), rate) == sounds.FLOOR_DB).all()


def test_distances_are_in_decibels() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32)
    loud, low = (sounds.log_mel(noise * gain, 16000) for gain in (1.0, 10 ** (-12 / 20)))
    assert sounds.log_mel_distance(loud, low) == pytest.approx(12.0, abs=1e-3)
    assert sounds.long_term_distance(loud, low) == pytest.approx(12.0, abs=1e-3)
    assert sounds.log_mel_distance(loud, loud) == 0.0
    assert sounds.log_mel_distance(loud, loud[:7]) == 0.0


def test_one_sample_has_a_log_mel() -> None:
    assert np.isfinite(sounds.log_mel(np.ones((1, 1), np.float32), 16000)).all()


def test_roughness_of_straight_turning_and_random_paths() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 100, 80))
    straight = [one + k * two for k in range(9)]
    assert sounds.roughness(straight) == pytest.approx(0.0, abs=1e-9)
    back_and_forth = [one if k % 2 else two for k in range(9)]
    assert sounds.roughness(back_and_forth) == pytest.approx(2 * 7 / 8)
    independent = list(rng.standard_normal((9, 100, 80)))
    assert sounds.roughness(independent) == pytest.approx(math.sqrt(3) * 7 / 8, rel=0.01)
    assert math.isnan(sounds.roughness([one] * 9))
