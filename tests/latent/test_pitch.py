"""F0 of voices whose F0 is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from listening_codecs import RATE, voice

from rdbench.audio.resample import resample
from rdbench.latent import pitch


def spoken(f0: float, seconds: float = 1.0) -> np.ndarray:
    steady = torch.full((round(RATE * seconds),), f0, dtype=torch.float64)
    return voice(steady, torch.tensor(0.1)).numpy()[None]


@pytest.mark.parametrize("f0", [75.0, 110.0, 187.3, 240.0, 390.0])
def test_a_steady_voice_has_its_f0(f0: float) -> None:
    found = pitch.track(spoken(f0), RATE)
    assert np.isfinite(found).mean() > 0.95
    assert np.nanmax(np.abs(12 * np.log2(found / f0))) < 0.05
    assert pitch.middle(found) == pytest.approx(f0, rel=0.002)


def test_a_clip_played_faster_is_higher_by_the_ratio() -> None:
    slow = torch.from_numpy(spoken(150.0))
    fast = resample(slow, 6, 5).numpy()
    change = pitch.change(pitch.track(slow.numpy(), RATE), pitch.track(fast, RATE))
    assert change == pytest.approx(12 * math.log2(6 / 5), abs=0.05)


def test_noise_and_silence_have_no_voice() -> None:
    noise = np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32)
    for wave in (noise, np.zeros((1, RATE), np.float32)):
        found = pitch.track(wave, RATE)
        assert np.isnan(found).mean() > 0.95
        assert math.isnan(pitch.change(found, found))


def test_a_short_clip_has_no_track() -> None:
    found = pitch.track(np.ones((1, 10), np.float32), RATE)
    assert len(found) == 0
    assert math.isnan(pitch.middle(found))
    assert math.isnan(pitch.change(found, found))
