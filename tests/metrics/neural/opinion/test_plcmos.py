"""PLCMOS against direct calls of the package, and what it says of lost packets."""

from __future__ import annotations

import numpy as np
import pytest

from rdbench.metrics.registry import backend
from rdbench.types import Status

RATE = 16000


@pytest.mark.parametrize(
    ("file", "seconds"), [("103-1240-0000.flac", 2.3), ("vctk_p225_a.wav", 1.2)]
)
def test_values_are_the_packages_with_its_first_raters(
    file: str, seconds: float, read_clip, score_by
) -> None:
    from speechmos import plcmos as package

    clip = read_clip(f"speech/{file}", rate=RATE, seconds=seconds)
    np.random.seed(0)  # noqa: NPY002  # the generator that the package draws from
    theirs = package.run(clip[0], RATE)["plcmos"]
    ours = score_by("plcmos", clip, clip, RATE).value
    assert 1 < ours < 5
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_lost_packets_cost_opinion(read_clip, score_by) -> None:
    clip = read_clip("speech/103-1240-0000.flac", rate=RATE, seconds=2.0)
    lost = clip.copy()
    for start in range(3200, clip.shape[-1], 4800):
        lost[:, start : start + 960] = 0  # three packets of 20 ms
    whole, holed = (score_by("plcmos", clip, one, RATE).value for one in (clip, lost))
    assert whole > holed + 0.5


def test_the_same_raters_judge_whatever_numpys_generator_does(read_clip, score_by) -> None:
    clip = read_clip("speech/vctk_p225_a.wav", rate=RATE, seconds=0.6)
    first = score_by("plcmos", clip, clip, RATE).value
    np.random.seed(7)  # noqa: NPY002
    assert score_by("plcmos", clip, clip, RATE).value == first


def test_limits_have_reasons(score_by) -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    silent = score_by("plcmos", noise, 0 * noise, RATE)
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reconstruction is silent")
    assert score_by("plcmos", noise, noise * np.nan, RATE).status is Status.FAILED
    short = score_by("plcmos", noise, noise[:1600], RATE)
    assert short.reason == "0.100 s is shorter than the 0.5 s needed"
    assert score_by("plcmos", noise, 3 * noise, RATE).status is Status.OK  # beyond full scale
    long = score_by("plcmos", noise, np.tile(noise, 61), RATE)
    assert long.reason == "61 s, and plcmos is given 60 s or less; shorten the excerpts"


def test_the_version_names_the_model() -> None:
    assert len(backend("plcmos").version.partition("sha256 ")[2]) == 64
