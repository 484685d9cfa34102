"""PESQ: the package's values, and no number where it has none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.metrics.base import PoolBackend
from rdbench.metrics.registry import backend, definition
from rdbench.types import MissingExtraError, Score, Status

KEYS = ("pesq_wb", "pesq_nb")


def score(key: str, reference: np.ndarray, reconstruction: np.ndarray) -> Score:
    metric = backend(key)
    assert isinstance(metric, PoolBackend)
    rate = definition(key).sample_rate
    assert rate is not None
    prepared = metric.prepare(reference, rate)
    return metric.score(prepared, reconstruction=reconstruction, sample_rate=rate)


def compare_with_package(key: str, file: str, seconds: float | None, read_clip, degrade) -> None:
    from pesq import pesq

    rate = definition(key).sample_rate
    reference = read_clip(file, rate=rate, seconds=seconds)[0]
    worse = degrade(reference)
    theirs = pesq(rate, reference, worse, key.removeprefix("pesq_"))
    assert score(key, reference, worse).value == pytest.approx(theirs, abs=1e-6)
    assert 1.0 < theirs < 4.5


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("index", range(3))
def test_values_are_the_packages(key: str, index: int, clip_files, read_clip, degrade) -> None:
    file = clip_files["speech"][:: len(clip_files["speech"]) // 3][index]
    compare_with_package(key, file, 3.0, read_clip, degrade)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_values_are_the_packages_on_every_speech_clip(
    key: str, clip_files, read_clip, degrade
) -> None:
    for file in clip_files["speech"]:
        compare_with_package(key, file, None, read_clip, degrade)


@pytest.mark.parametrize("key", KEYS)
def test_identity_is_at_the_ceiling_and_noise_worsens(key: str, read_clip, degrade) -> None:
    reference = read_clip("speech/vctk_p225_a.wav", rate=definition(key).sample_rate)[0]
    identity = score(key, reference, reference.copy()).value
    assert identity == pytest.approx(definition(key).identity, abs=1e-5)
    assert identity <= definition(key).upper
    values = [score(key, reference, degrade(reference, level=x)).value for x in (1e-4, 1e-3, 1e-2)]
    assert [identity, *values] == sorted({identity, *values}, reverse=True)


def test_the_ceilings_are_the_mappings_at_a_raw_score_of_4_5() -> None:
    wide = 0.999 + 4 / (1 + math.exp(-1.3669 * 4.5 + 3.8224))
    narrow = 0.999 + 4 / (1 + math.exp(-1.4945 * 4.5 + 4.6607))
    assert definition("pesq_wb").identity == pytest.approx(wide, abs=1e-6)
    assert definition("pesq_nb").identity == pytest.approx(narrow, abs=1e-6)


@pytest.mark.parametrize("key", KEYS)
def test_no_number_where_pesq_has_none(key: str, read_clip) -> None:
    rate = definition(key).sample_rate
    speech = read_clip("speech/vctk_p225_a.wav", rate=rate)[0]
    silence = np.zeros_like(speech)
    burst = np.zeros_like(speech)
    burst[rate : rate + rate // 20] = speech[rate : rate + rate // 20]  # 50 ms: no utterance
    short = speech[rate : rate + rate // 4 - 1]
    broken = speech.copy()
    broken[10] = math.nan
    expected = {
        "the reference is silent": (silence, speech),
        "the reconstruction is silent": (speech, silence),
        "PESQ found no utterance": (burst, burst),
        "shorter than 0.25 s": (short, short),
    }
    for reason, (reference, reconstruction) in expected.items():
        outcome = score(key, reference, reconstruction)
        assert (outcome.status, outcome.reason) == (Status.UNDEFINED, reason)
        assert math.isnan(outcome.value)
    failed = score(key, speech, broken)
    assert failed.status is Status.FAILED
    assert math.isnan(failed.value)
    assert failed.reason.startswith(key)


def test_a_quarter_of_a_second_is_enough(read_clip) -> None:
    speech = read_clip("speech/vctk_p225_a.wav", rate=16000)[0][16000:20000]
    assert len(speech) / 16000 == definition("pesq_wb").minimum_seconds
    assert score("pesq_wb", speech, speech.copy()).status is Status.OK


def test_the_version_names_the_package_and_its_absence_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rdbench.metrics import packages
    from rdbench.metrics.perceptual.pesq import PesqBackend

    assert PesqBackend("pesq_wb").version.startswith("pesq 0.")

    def absent(name: str) -> str:
        raise packages.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.importlib.metadata, "version", absent)
    with pytest.raises(MissingExtraError, match=r"pesq_wb.*pip install"):
        _ = PesqBackend("pesq_wb").version
