"""Degraded copies: noise of its level, a room of its reverberation time, of the clip's seed."""

from __future__ import annotations

import numpy as np
import pytest

from rdbench.audio.copies import degraded, room_response
from rdbench.types import SpecError

RATE = 16000


@pytest.fixture
def clip() -> np.ndarray:
    time = np.arange(2 * RATE) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 440 * time) * (time < 1)
    return np.stack([tone, 0.5 * tone]).astype(np.float32)


@pytest.mark.parametrize("ratio", [20.0, 10.0, 0.0, -5.0])
def test_noise_is_white_and_of_its_level(clip: np.ndarray, ratio: float) -> None:
    added = degraded(clip, RATE, f"noise_{ratio:g}", seed=3) - clip
    level = 10 * np.log10(np.square(clip).mean() / np.square(added).mean())
    assert level == pytest.approx(ratio, abs=0.1)
    power = np.abs(np.fft.rfft(added, axis=1)) ** 2
    halves = power[:, 1 : len(power[0]) // 2].mean() / power[:, len(power[0]) // 2 :].mean()
    assert halves == pytest.approx(1.0, abs=0.05)
    assert abs(np.corrcoef(added)[0, 1]) < 0.05


@pytest.mark.parametrize("seconds", [0.2, 0.8])
def test_a_room_falls_by_60_db_in_its_time(seconds: float) -> None:
    """Schroeder's backward integral of the tail: straight in dB, from -5 to -25 dB."""
    drawn = [room_response(RATE, seconds, np.random.default_rng(s)) for s in range(20)]
    tails = np.square(np.stack(drawn))[:, 1:]
    assert tails.sum(axis=1) == pytest.approx(np.ones(20))
    decay = 10 * np.log10(np.cumsum(tails[:, ::-1], axis=1)[:, ::-1].mean(axis=0))
    time = np.arange(1, 1 + len(decay)) / RATE
    part = (decay < -5) & (decay > -25)
    slope = np.polyfit(time[part], decay[part], 1)[0]
    assert -60 / slope == pytest.approx(seconds, rel=0.05)


def test_a_room_keeps_the_power_and_fills_the_silence(clip: np.ndarray) -> None:
    made = degraded(clip, RATE, "room_0.5", seed=3)
    assert np.square(made).mean() == pytest.approx(np.square(clip).mean(), rel=1e-4)
    after = slice(round(1.05 * RATE), round(1.1 * RATE))
    assert not clip[:, after].any()
    assert np.square(made[:, after]).mean() > 1e-5


@pytest.mark.parametrize("name", ["noise_10", "room_0.3"])
def test_a_copy_is_of_its_seed_and_silence_stays(clip: np.ndarray, name: str) -> None:
    first, again = (degraded(clip, RATE, name, seed=5) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, degraded(clip, RATE, name, seed=6))
    assert not degraded(np.zeros_like(clip), RATE, name, seed=5).any()
    assert degraded(clip[:, :1] + 0.1, RATE, name, seed=5).shape == (2, 1)


@pytest.mark.parametrize("name", ["noise", "noise_loud", "room_0", "hall_1", ""])
def test_other_names_are_refused(clip: np.ndarray, name: str) -> None:
    with pytest.raises(SpecError, match="there is no copy"):
        degraded(clip, RATE, name, seed=0)
