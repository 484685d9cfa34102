"""Distill-MOS against direct calls of the package, and what it says of worse speech."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.neural.opinion import distill_mos
from rdbench.metrics.registry import backend
from rdbench.types import AudioBatch, Status

RATE = 16000


@pytest.fixture(scope="module")
def package():
    from distillmos import ConvTransformerSQAModel

    return ConvTransformerSQAModel().eval()


@pytest.mark.parametrize("seconds", [2.0, 9.3])
def test_values_are_the_packages(seconds: float, package, read_clip, score_by) -> None:
    clip = read_clip("speech/103-1240-0000.flac", rate=RATE, seconds=seconds)
    with torch.no_grad():
        theirs = package(torch.from_numpy(clip)).item()
    ours = score_by("distill_mos", clip, clip, RATE).value
    assert 2 < ours < 5
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_noise_costs_opinion_and_gain_does_not(read_clip, score_by) -> None:
    clip = read_clip("speech/vctk_p225_a.wav", rate=RATE)
    hiss = np.random.default_rng(0).standard_normal(clip.shape).astype(np.float32)
    clean, soft, noisy, worse = (
        score_by("distill_mos", clip, one, RATE).value
        for one in (clip, 0.1 * clip, clip + 0.005 * hiss, clip + 0.05 * hiss)
    )
    assert clean > noisy + 0.3 > worse + 0.6
    assert soft == pytest.approx(clean, abs=0.01)


def test_a_clip_scores_in_a_batch_what_it_scores_alone(read_clip, monkeypatch) -> None:
    first, second = (
        read_clip(f"speech/vctk_p225_{name}.wav", rate=RATE, seconds=seconds)[0]
        for name, seconds in (("a", 2.0), ("b", 1.5))
    )
    samples = np.full((2, 2, len(first)), np.nan, np.float32)
    samples[0, :] = first
    samples[1, :, : len(second)] = second, 0.5 * second
    metric = backend("distill_mos")
    assert isinstance(metric, DeviceBackend)

    def scores(array: np.ndarray, *lengths: int) -> list[float]:
        audio = AudioBatch(torch.from_numpy(array), torch.tensor(lengths), RATE)
        return [one.value for one in metric.score(None, reconstruction=audio)]

    together = scores(samples, len(first), len(second))
    monkeypatch.setattr(distill_mos, "_AT_ONCE", 1)
    alone = [
        *scores(samples[:1, :1], len(first)),
        *scores(samples[1:, :, : len(second)].copy(), len(second)),
    ]
    assert together == pytest.approx(alone, abs=1e-4)


def test_silence_and_what_is_not_finite_have_no_opinion(score_by) -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    silent = score_by("distill_mos", noise, 0 * noise, RATE)
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reconstruction is silent")
    assert score_by("distill_mos", noise, noise * np.nan, RATE).status is Status.FAILED
    assert score_by("distill_mos", noise, noise[:1000], RATE).status is Status.UNDEFINED


def test_the_version_names_the_weights() -> None:
    assert "weights sha256 " in backend("distill_mos").version
