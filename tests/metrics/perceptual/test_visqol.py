"""ViSQOL: the package's values in both modes, the lattice or an error, nothing made of silence."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from rdbench.metrics.base import PoolBackend
from rdbench.metrics.perceptual.visqol import VisqolBackend
from rdbench.metrics.registry import backend, definition
from rdbench.types import MissingExtraError, Score, Status

KEYS = ("visqol_audio", "visqol_speech")
SUBSET = {
    "visqol_audio": (
        "speech/vctk_p225_a.wav",
        "music/loop_tabla.flac",
        "sound/vinyl_hiss.flac",
    ),
    "visqol_speech": ("speech/vctk_p225_a.wav", "speech/103-1240-0000.flac"),
}


def score(key: str, reference: np.ndarray, reconstruction: np.ndarray) -> Score:
    metric = backend(key, "reference")
    assert isinstance(metric, PoolBackend)
    rate = definition(key).sample_rate
    assert rate is not None
    prepared = metric.prepare(reference, rate)
    return metric.score(prepared, reconstruction=reconstruction, sample_rate=rate)


def compare_with_package(key: str, file: str, seconds: float | None, read_clip, degrade) -> None:
    from visqol import VisqolApi

    rate = definition(key).sample_rate
    reference = read_clip(file, rate=rate, seconds=seconds)[0]
    worse = degrade(reference)
    api = VisqolApi()
    api.create(mode=key.removeprefix("visqol_"))
    theirs = api.measure_from_arrays(reference, worse, rate).moslqo
    assert score(key, reference, worse).value == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(("key", "file"), [(key, file) for key in KEYS for file in SUBSET[key]])
def test_values_are_the_packages(key: str, file: str, read_clip, degrade) -> None:
    compare_with_package(key, file, 2.0, read_clip, degrade)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_values_are_the_packages_on_every_clip(key: str, clip_files, read_clip, degrade) -> None:
    domains = definition(key).domains or tuple(clip_files)
    for file in (file for domain in domains for file in clip_files[domain]):
        shortest = definition(key).minimum_seconds
        rate = definition(key).sample_rate
        if read_clip(file, rate=rate, seconds=None).shape[-1] >= shortest * rate:
            compare_with_package(key, file, None, read_clip, degrade)


@pytest.mark.parametrize("key", KEYS)
def test_identity_is_at_the_ceiling_and_noise_worsens(key: str, read_clip, degrade) -> None:
    reference = read_clip("speech/vctk_p225_a.wav", rate=definition(key).sample_rate, seconds=2)[0]
    identity = score(key, reference, reference.copy()).value
    if key == "visqol_audio":
        assert identity == pytest.approx(definition(key).identity, abs=1e-6)
    else:  # the lattice has no one ceiling, and the definition says so
        assert 3.9 < identity <= definition(key).upper
        assert math.isnan(definition(key).identity)
    values = [score(key, reference, degrade(reference, level=x)).value for x in (1e-4, 3e-3)]
    assert [identity, *values] == sorted({identity, *values}, reverse=True)


@pytest.mark.parametrize("key", KEYS)
def test_short_and_silent_clips_are_undefined(key: str, read_clip) -> None:
    rate = definition(key).sample_rate
    speech = read_clip("speech/vctk_p225_a.wav", rate=rate, seconds=2)[0]
    silence = np.zeros_like(speech)
    enough = round(definition(key).minimum_seconds * rate)
    assert score(key, speech[-enough:], speech[-enough:].copy()).status is Status.OK
    short = speech[-enough + 1 :]
    expected = {
        "the reference is silent": (silence, speech),
        "the reconstruction is silent": (speech, silence),
        f"shorter than {definition(key).minimum_seconds} s": (short, short),
    }
    for reason, (reference, reconstruction) in expected.items():
        outcome = score(key, reference, reconstruction)
        assert (outcome.status, outcome.reason) == (Status.UNDEFINED, reason)
        assert math.isnan(outcome.value)


@pytest.mark.parametrize("key", KEYS)
def test_samples_that_are_not_finite_fail(key: str, read_clip) -> None:
    speech = read_clip("speech/vctk_p225_a.wav", rate=definition(key).sample_rate, seconds=2)[0]
    broken = speech.copy()
    broken[10] = math.nan
    outcome = score(key, speech, broken)
    assert outcome.status is Status.FAILED
    assert math.isnan(outcome.value)


def test_speech_mode_without_the_lattice_is_an_error_and_never_another_mapping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    metric = VisqolBackend("visqol_speech")
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    with pytest.raises(MissingExtraError, match="visqol_speech"):
        metric.score(noise, reconstruction=noise, sample_rate=16000)
    with pytest.raises(MissingExtraError, match="visqol_speech"):
        _ = metric.version
    assert "svr" in VisqolBackend("visqol_audio").version


def test_the_version_names_package_and_mapping() -> None:
    assert backend("visqol_speech", "reference").version.startswith("visqol-python 3.8")
    assert "lattice" in backend("visqol_speech", "reference").version
