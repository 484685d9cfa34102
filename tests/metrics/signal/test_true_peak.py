"""True peaks of the tones that EBU Tech 3341 states, whose samples miss their tops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.types import Status

RATE = 48000


# Cases 15 to 19 of EBU Tech 3341 (2016), table 1: a tone at a fraction of the rate, its phase in
# degrees and its amplitude, and the level in dBTP.
CASES = [
    (4, 0, 0.50, -6.0),
    (4, 45, 0.50, -6.0),
    (6, 60, 0.50, -6.0),
    (8, 67.5, 0.50, -6.0),
    (4, 45, 1.41, 3.0),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_levels_are_within_the_tolerances_of_the_ebu(case, rate: int, score_by) -> None:
    fraction, degrees, amplitude, level = case
    phase = 2 * math.pi * np.arange(rate) / fraction + math.radians(degrees)
    fade = np.minimum(1, np.minimum(np.arange(rate), np.arange(rate)[::-1]) / (0.1 * rate))
    score = score_by("true_peak", np.zeros(0), amplitude * fade * np.sin(phase), rate)
    assert level - 0.4 <= score.value <= level + 0.2


def test_it_is_the_highest_of_all_channels_and_knows_no_reference(score_by) -> None:
    time = np.arange(RATE) / RATE
    quiet, loud = (a * np.sin(2 * math.pi * 1000 * time) for a in (0.1, 0.25))
    both = np.stack([quiet, loud])
    assert score_by("true_peak", both, both, RATE).value == pytest.approx(-12.04, abs=0.05)


def test_a_distorted_clip_has_another_peak_and_silence_none(read_clip, score_by) -> None:
    clip = read_clip("speech/vctk_p225_a.wav", rate=16000)
    before = score_by("true_peak", clip, clip, 16000).value
    assert score_by("true_peak", clip, 2 * clip, 16000).value == pytest.approx(
        before + 6.02, abs=0.01
    )
    silent = score_by("true_peak", clip, 0 * clip, 16000)
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reconstruction is silent")
    assert score_by("true_peak", clip, clip * np.nan, 16000).status is Status.FAILED
