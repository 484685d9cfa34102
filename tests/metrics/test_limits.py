"""What metrics of signal and voice, and networks, say of silence, of short and long clips, and NaN.

The tables of limits in docs/metrics.md say the same.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import rdbench

SIGNAL = ("loudness_difference", "stereo_level", "stereo_correlation", "pre_echo", "spectral_tilt")
VOICE = ("lf0_rmse", "voicing_error", "mcd")
ALONE = ("true_peak", "bandwidth")
KEYS = (*SIGNAL, *VOICE, *ALONE)
OPINIONS = ("distill_mos", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808", "plcmos")
NETWORKS = (*OPINIONS, "speaker_resemblyzer")
OK = "ok"


def clip(seconds: float, rate: int = 16000, channels: int = 2) -> np.ndarray:
    """A tone with harmonics that sets in, on channels of several levels."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * math.pi * 150 * k * time) / k for k in range(1, 20))
    noise = 0.002 * np.random.default_rng(0).standard_normal(len(time))
    wave = np.where(time < 0.4 * seconds, 0.01 * wave, wave) + noise
    gains = 0.1 / np.arange(1, channels + 1)[:, None]
    return (gains * wave).astype(np.float32)


def outcomes(reference: np.ndarray, reconstruction: np.ndarray, rate: int, *keys: str) -> dict:
    table = rdbench.score(
        reference=reference, reconstruction=reconstruction, sample_rate=rate, metrics=keys
    )
    scores = table[table["key"] != "residual_delay"]
    assert all(scores["value"].isna() == (scores["status"] != OK))
    return {
        row.key: row.status if row.status == OK else f"{row.status}: {row.reason}"
        for row in scores.itertuples()
    }


def test_a_good_clip_has_all_of_them() -> None:
    assert set(outcomes(clip(1), clip(1), 16000, *KEYS).values()) == {OK}


def test_silence_is_undefined_by_either_side() -> None:
    found = outcomes(0 * clip(1), clip(1), 16000, *KEYS)
    assert {key for key, said in found.items() if said == OK} == set(ALONE)
    assert all(found[key].startswith("undefined: the reference ") for key in (*SIGNAL, *VOICE))
    lost = outcomes(clip(1), 0 * clip(1), 16000, *KEYS)
    assert {key for key, said in lost.items() if said == OK} == {
        "stereo_level",
        "stereo_correlation",
    }


def test_a_tenth_of_a_second_is_too_short_for_loudness_alone() -> None:
    found = outcomes(clip(0.1), clip(0.1), 16000, *KEYS)
    short = "undefined: 0.100 s is shorter than the 0.4 s needed"
    assert found.pop("loudness_difference") == short
    assert set(found.values()) == {OK}


@pytest.mark.slow
def test_ten_minutes_are_too_long_for_world_alone() -> None:
    long = clip(600, rate=8000, channels=1)
    found = outcomes(long, long, 8000, "pre_echo", "spectral_tilt", *VOICE, *ALONE)
    said = "undefined: 600 s, and WORLD is given 60 s or less; shorten the excerpts"
    assert {key for key, value in found.items() if value == said} == set(VOICE)
    assert all(value == OK for key, value in found.items() if key not in VOICE)


def test_mono_has_no_stereo_image_and_8_khz_is_enough() -> None:
    mono = clip(1, rate=8000, channels=1)
    found = outcomes(mono, mono, 8000, *KEYS)
    image = "undefined: 1 channel, and a stereo image is that of two"
    assert {found.pop("stereo_level"), found.pop("stereo_correlation")} == {image}
    assert set(found.values()) == {OK}


def test_one_nan_fails_them_all_with_its_number() -> None:
    broken = clip(0.5)
    broken[0, 5] = math.nan
    found = outcomes(clip(0.5), broken, 16000, *KEYS)
    assert set(found.values()) == {"failed: the reconstruction holds 1 NaN or infinite sample"}


def test_networks_score_stereo_at_8_khz_of_little_more_than_they_need() -> None:
    least = clip(1.25, rate=8000)
    assert set(outcomes(least, least, 8000, *NETWORKS).values()) == {OK}


def test_networks_have_reasons_for_silence_a_tenth_of_a_second_and_nan() -> None:
    whole, short = clip(1.3), clip(0.1)
    lost = outcomes(whole, 0 * whole, 16000, *NETWORKS)
    silent = "undefined: the reconstruction is silent"
    assert {said.partition(" (channel")[0] for said in lost.values()} == {silent}
    found = outcomes(short, short, 16000, *NETWORKS)
    needed = {key: "1.2" if key == "speaker_resemblyzer" else "0.5" for key in NETWORKS}
    assert found == {
        key: f"undefined: 0.100 s is shorter than the {seconds} s needed"
        for key, seconds in needed.items()
    }
    broken = whole.copy()
    broken[1, 7] = math.inf
    failed = "failed: the reconstruction holds 1 NaN or infinite sample"
    assert set(outcomes(whole, broken, 16000, *NETWORKS).values()) == {failed}


def test_a_silent_reference_has_no_speaker_and_costs_no_opinion() -> None:
    found = outcomes(0 * clip(1.3), clip(1.3), 16000, "plcmos", "speaker_resemblyzer")
    assert found.pop("plcmos") == OK
    said = "undefined: the reference is silent (channel 1 of 2)"
    assert found == {"speaker_resemblyzer": said}


@pytest.mark.slow
def test_ten_minutes_are_too_long_for_plcmos_alone() -> None:
    long = clip(600, rate=8000, channels=1)
    found = outcomes(long, long, 8000, "plcmos", "speaker_resemblyzer", "dnsmos_p808")
    said = "undefined: 600 s, and plcmos is given 60 s or less; shorten the excerpts"
    assert found.pop("plcmos") == said
    assert set(found.values()) == {OK}


@pytest.mark.parametrize("key", [*VOICE, *NETWORKS])
def test_music_is_not_asked_for_its_voice(key: str) -> None:
    table = rdbench.score(
        reference=clip(0.5),
        reconstruction=clip(0.5),
        sample_rate=16000,
        metrics=[key],
        domain="music",
    )
    assert table["reason"].iloc[0] == "it is for speech, and not for music"
