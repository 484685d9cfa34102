"""Bandwidth and tilt of noise that was shaped to have known ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.metrics.spectra import window_of
from rdbench.types import Status

SECONDS = 4


def shaped(rate: int, *, slope: float = 0.0, up_to: float = math.inf) -> np.ndarray:
    """Noise with a power of `slope` dB per octave, and nothing above `up_to` hertz."""
    noise = np.random.default_rng(0).standard_normal(SECONDS * rate)
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(len(noise), 1 / rate)
    gain = np.maximum(hertz, 20) ** (slope / (20 * math.log10(2)))
    wave = np.fft.irfft(spectrum * gain * (hertz <= up_to))
    return 0.3 * wave / np.abs(wave).max()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("share", [0.25, 0.8])
def test_bandwidth_is_where_the_noise_ends(rate: int, share: float, score_by) -> None:
    end = share * rate / 2
    score = score_by("bandwidth", np.zeros(0), shaped(rate, up_to=end), rate)
    assert 0 <= score.value - end <= 6 * rate / window_of(rate)  # the window's skirt


def test_the_band_of_white_noise_is_all_of_it(score_by) -> None:
    assert score_by("bandwidth", np.zeros(0), shaped(16000), 16000).value == 8000


def test_what_lies_deeper_than_the_range_is_no_spectrum(score_by) -> None:
    low, high = shaped(48000, up_to=5000), shaped(48000) - shaped(48000, up_to=15000)
    above = {
        decibels: score_by("bandwidth", low, low + high * 10 ** (decibels / 20), 48000).value
        for decibels in (-40, -90)
    }
    assert above[-40] > 20000
    assert above[-90] == pytest.approx(5000, abs=140)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("slope", [-3.0103, 4.5])
def test_tilt_is_the_slope_of_what_was_shaped(rate: int, slope: float, score_by) -> None:
    white, tilted = shaped(rate), shaped(rate, slope=slope)
    for reference, other in ((white, tilted), (tilted, white)):
        score = score_by("spectral_tilt", reference, other, rate)
        assert score.value == pytest.approx(abs(slope), abs=0.1)


def test_gain_and_an_identity_have_no_tilt(score_by) -> None:
    pink = shaped(16000, slope=-3)
    assert score_by("spectral_tilt", pink, pink, 16000).value == 0
    assert score_by("spectral_tilt", pink, pink / 4, 16000).value == pytest.approx(0, abs=1e-4)


def test_a_duller_clip_has_less_band_and_another_tilt(read_clip, score_by) -> None:
    from scipy.signal import butter, sosfilt

    clip = read_clip("speech/vctk_p225_a.wav", rate=48000)
    dull = sosfilt(butter(8, 4000, fs=48000, output="sos"), clip).astype(np.float32)
    before, after = (score_by("bandwidth", clip, one, 48000).value for one in (clip, dull))
    assert after < 10000 < before
    assert score_by("spectral_tilt", clip, clip, 48000).value == 0
    assert score_by("spectral_tilt", clip, dull, 48000).value > 3


@pytest.mark.parametrize("key", ["bandwidth", "spectral_tilt"])
def test_what_has_no_spectrum_has_no_score(key: str, score_by) -> None:
    noise = shaped(16000)
    silent = score_by(key, noise, 0 * noise, 16000)
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reconstruction is silent")
    assert score_by(key, noise[:100], noise[:100], 16000).status is Status.UNDEFINED
    broken = noise.copy()
    broken[9] = math.inf
    assert score_by(key, noise, broken, 16000).status is Status.FAILED
