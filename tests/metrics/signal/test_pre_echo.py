"""Pre-echoes that were put before attacks, and how far they are found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.types import Status

RATE = 48000
START = 9600  # sample of the attack: 200 ms


def attack(floor_db: float = -math.inf) -> np.ndarray:
    """A square wave of amplitude 0.5 from START on, after one that is `floor_db` softer."""
    signal = 0.5 * (1 - 2 * (np.arange(RATE) // 12 % 2)).astype(np.float64)
    signal[:START] *= 10 ** (floor_db / 20)
    return signal


def with_echo(signal: np.ndarray, decibels: float, milliseconds: int) -> np.ndarray:
    """The same with a part before START that lies `decibels` under the attack."""
    worse, size = signal.copy(), milliseconds * RATE // 1000
    worse[START - size : START] = attack()[START : START + size] * 10 ** (decibels / 20)
    return worse


@pytest.mark.parametrize(
    ("floor", "echo", "milliseconds", "expected"),
    [
        (-math.inf, -20.0, 20, 40.0),  # from the floor of -60 dB up to -20
        (-math.inf, -20.0, 5, 40.0 + 10 * math.log10(5 / 20)),
        (-40.0, -20.0, 20, 20.0),
        (-40.0, -70.0, 20, 0.0),  # less than there was
        (-math.inf, -80.0, 20, 0.0),  # under the floor
    ],
)
def test_a_known_pre_echo_is_measured(
    floor: float, echo: float, milliseconds: int, expected: float, score_by
) -> None:
    reference = attack(floor)
    score = score_by("pre_echo", reference, with_echo(reference, echo, milliseconds), RATE)
    assert score.value == pytest.approx(expected, abs=1e-4)


def test_a_click_is_found_where_it_is(score_by) -> None:
    click, echo = np.zeros(RATE), np.zeros(RATE)
    click[START : START + 48] = 0.5  # one millisecond
    echo[START : START + 48] = 0.5
    echo[START - 960 : START] = 0.005  # 40 dB under the click's own millisecond
    score = score_by("pre_echo", click, echo, RATE)
    assert score.value == pytest.approx(60 - 40 + 10 * math.log10(5), abs=1e-4)


def test_attacks_are_averaged_and_one_that_is_gone_counts_in_full(score_by) -> None:
    two = np.concatenate([attack()[: RATE // 2], attack()[: RATE // 2]])
    lost = np.concatenate([attack()[: RATE // 2], np.zeros(RATE // 2)])
    assert score_by("pre_echo", two, lost, RATE).value == pytest.approx(30.0, abs=1e-6)


def test_gain_and_an_identity_cost_nothing(score_by) -> None:
    for gain in (1.0, 0.1):
        assert score_by("pre_echo", attack(-30), gain * attack(-30), RATE).value == pytest.approx(
            0, abs=1e-4
        )


def test_smeared_drums_score_worse(read_clip, score_by) -> None:
    clip = read_clip("music/arovane_beat_a.flac", rate=44100)
    assert score_by("pre_echo", clip, clip, 44100).value == 0
    noise = np.random.default_rng(1).standard_normal(clip.shape).astype(np.float32)
    values = [
        score_by("pre_echo", clip, clip + share * noise, 44100).value
        for share in (0.001, 0.01, 0.1)
    ]
    assert 0 < values[0] < values[1] < values[2]


def test_without_attacks_there_is_no_score(score_by) -> None:
    steady = np.sin(np.arange(RATE) / 10)
    for reference in (steady, np.zeros(RATE)):
        score = score_by("pre_echo", reference, steady, RATE)
        assert score.status is Status.UNDEFINED
        assert score.reason == "the reference has no attack that rises by 15 dB"
    gone = score_by("pre_echo", attack(), np.zeros(RATE), RATE)
    assert (gone.status, gone.reason) == (Status.UNDEFINED, "the reconstruction is silent")
    broken = attack()
    broken[3] = math.nan
    assert score_by("pre_echo", attack(), broken, RATE).status is Status.FAILED
    assert score_by("pre_echo", broken, attack(), RATE).status is Status.FAILED
