"""DNSMOS against direct calls of the package, and what it says of noise."""

from __future__ import annotations

import numpy as np
import pytest

from rdbench.metrics.neural.opinion.dnsmos import WHAT
from rdbench.metrics.registry import backend
from rdbench.types import Status

RATE = 16000


def test_values_are_the_packages(read_clip, score_by) -> None:
    from speechmos import dnsmos

    one, two = ("vctk_p225_a.wav", 1.2), ("103-1240-0000.flac", 11.5)  # windows
    for file, seconds in (one, two):
        clip = read_clip(f"speech/{file}", rate=RATE, seconds=seconds)
        theirs = dnsmos.run(clip[0], RATE)
        for key in WHAT:
            ours = score_by(key, clip, clip, RATE).value
            assert 1 < ours < 5
            assert ours == pytest.approx(theirs[f"{key.removeprefix('dnsmos_')}_mos"], abs=1e-5)


def test_noise_is_heard_in_the_background_most(read_clip, score_by) -> None:
    clip = read_clip("speech/vctk_p225_a.wav", rate=RATE, seconds=1.2)
    hiss = 0.02 * np.random.default_rng(0).standard_normal(clip.shape).astype(np.float32)
    lost = {
        key: score_by(key, clip, clip, RATE).value - score_by(key, clip, clip + hiss, RATE).value
        for key in WHAT
    }
    assert min(lost["dnsmos_ovrl"], lost["dnsmos_p808"]) > 0.1
    assert lost["dnsmos_bak"] > lost["dnsmos_sig"]


def test_limits_have_reasons(score_by) -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    key = "dnsmos_ovrl"
    silent = score_by(key, noise, 0 * noise, RATE)
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reconstruction is silent")
    assert score_by(key, noise, noise * np.nan, RATE).status is Status.FAILED
    short = score_by(key, noise, noise[:1600], RATE)
    assert short.reason == "0.100 s is shorter than the 0.5 s needed"
    assert score_by(key, noise, 3 * noise, RATE).status is Status.OK  # beyond full scale


def test_the_version_names_both_models() -> None:
    assert len(backend("dnsmos_sig").version.partition("sha256 ")[2].split()) == 2
