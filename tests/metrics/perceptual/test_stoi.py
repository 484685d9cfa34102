"""STOI and ESTOI: pystoi's values, and `undefined` where pystoi makes one up."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from rdbench.metrics.base import PoolBackend
from rdbench.metrics.registry import backend, definition
from rdbench.types import Score, Status

KEYS = ("stoi", "estoi")


def score(key: str, reference: np.ndarray, reconstruction: np.ndarray, rate: int) -> Score:
    metric = backend(key, "reference")
    assert isinstance(metric, PoolBackend)
    prepared = metric.prepare(reference, rate)
    return metric.score(prepared, reconstruction=reconstruction, sample_rate=rate)


def compare_with_package(key: str, reference: np.ndarray, worse: np.ndarray, rate: int) -> None:
    from pystoi import stoi

    theirs = stoi(reference.astype(float), worse.astype(float), rate, extended=key == "estoi")
    assert score(key, reference, worse, rate).value == pytest.approx(theirs, abs=1e-6)
    assert 0.1 < theirs < 1.0


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("rate", [10000, 16000, 44100, 48000])
def test_values_are_the_packages(key: str, rate: int, clip_files, read_clip, degrade) -> None:
    for file in clip_files["speech"][:: len(clip_files["speech"]) // 3]:
        reference = read_clip(file, rate=rate)[0]
        compare_with_package(key, reference, degrade(reference), rate)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_values_are_the_packages_on_every_speech_clip(
    key: str, clip_files, read_clip, degrade
) -> None:
    for file in clip_files["speech"]:
        reference = read_clip(file, rate=16000, seconds=None)[0]
        compare_with_package(key, reference, degrade(reference), 16000)


@pytest.mark.parametrize("key", KEYS)
def test_identity_is_one_and_noise_worsens(key: str, read_clip, degrade) -> None:
    reference = read_clip("speech/vctk_p225_a.wav", rate=16000)[0]
    identity = score(key, reference, reference.copy(), 16000).value
    assert identity == pytest.approx(definition(key).identity, abs=1e-9)
    values = [score(key, reference, degrade(reference, level=x), 16000).value for x in (0.003, 0.1)]
    assert [identity, *values] == sorted({identity, *values}, reverse=True)


@pytest.mark.parametrize("key", KEYS)
def test_too_little_speech_is_undefined_and_not_1e_5(key: str, read_clip) -> None:
    speech = read_clip("speech/vctk_p225_a.wav", rate=10000)[0][8000:16000]
    sparse = np.zeros_like(speech)
    sparse[:2000] = speech[:2000]  # long enough, but most frames are silent
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for reference in (speech[:4096], speech[:257], speech[:256], speech[:10], sparse):
            outcome = score(key, reference, reference.copy(), 10000)
            assert outcome.status is Status.UNDEFINED
            assert math.isnan(outcome.value)
            assert outcome.reason
    assert definition(key).minimum_seconds == 4096 / 10000
    loud = np.sign(speech[:4097]) * 0.1  # no frame is silent
    assert score(key, loud, loud.copy(), 10000).status is Status.OK


@pytest.mark.parametrize("key", KEYS)
def test_silence_is_undefined(key: str, read_clip) -> None:
    speech = read_clip("speech/vctk_p225_a.wav", rate=16000)[0]
    silence = np.zeros_like(speech)
    for name, pair in {
        "the reference is silent": (silence, speech),
        "the reconstruction is silent": (speech, silence),
    }.items():
        outcome = score(key, *pair, 16000)
        assert (outcome.status, outcome.reason) == (Status.UNDEFINED, name)


def test_samples_that_are_not_finite_fail(read_clip) -> None:
    speech = read_clip("speech/vctk_p225_a.wav", rate=16000)[0]
    broken = speech.copy()
    broken[24000] = math.nan
    outcome = score("stoi", speech, broken, 16000)
    assert outcome.status is Status.FAILED
    assert math.isnan(outcome.value)


def test_estoi_of_a_dropout_repeats_bit_for_bit_and_leaves_the_global_generator(read_clip) -> None:
    speech = read_clip("speech/vctk_p225_a.wav", rate=16000)[0]
    dropout = speech.copy()
    dropout[16000:32000] = 0.0
    np.random.seed(123)  # noqa: NPY002
    first = score("estoi", speech, dropout, 16000).value
    drawn = np.random.standard_normal()  # noqa: NPY002
    second = score("estoi", speech, dropout, 16000).value
    assert first == second
    np.random.seed(123)  # noqa: NPY002
    assert drawn == np.random.standard_normal()  # noqa: NPY002
