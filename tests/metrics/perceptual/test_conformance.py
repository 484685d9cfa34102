"""The scores that the reference programs' own conformance pairs are known to have.

The expected values stand here; the audio does not, and is looked for in the folder that the
environment variable RDBENCH_CONFORMANCE names, as two checkouts:

    git clone https://github.com/google/visqol          (testdata/)
    git clone https://github.com/ludlows/PESQ           (audio/)

Values of ViSQOL are those of its `src/include/conformance.h`, version 333, which its own test holds
to 1e-4; stereo files are downmixed there. Its speech pairs are scored at their 48 kHz there and
here, though `visqol_speech` brings audio to 16 kHz. One case of its test, an unscaled mapping, is
no metric here. Values of PESQ are those that the package's own test expects (P.862.2 without
Corrigendum 2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch

from rdbench.audio.resample import fit_lengths
from rdbench.metrics.base import DeviceBackend, PoolBackend
from rdbench.metrics.channels import batch_under, signals_under
from rdbench.metrics.registry import backend, definition
from rdbench.types import AudioBatch


class Case(NamedTuple):
    """What the reference program gives a pair, and by how much visqol-python is known to be off."""

    key: str
    reference: str
    reconstruction: str
    expected: float
    package_off: float = 0.0

    def __str__(self) -> str:
        return f"{self.key}-{Path(self.reconstruction).name}"


def stereo(name: str, change: str, expected: float, package_off: float = 0.0) -> Case:
    clean = f"conformance_testdata_subset/{name}48_stereo"
    return Case("visqol_audio", clean, clean + change, expected, package_off)


SPEECH, GUITAR = "clean_speech/CA01_01", "conformance_testdata_subset/guitar48_stereo"
CODED, FIVE = "clean_speech/transcoded_CA01_01", "short_duration/5_second/guitar48_stereo_5_sec"
LATTICE, EXPONENTIAL = "visqol_speech", "visqol_speech_exponential"
LATE = ("alignment/reference", "alignment/degraded")
AUDIO_CASES = [
    stereo("strauss", "_lp35", 1.3888791489130758),
    stereo("steely", "_lp7", 2.2501683734385183),
    stereo("sopr", "_256kbps_aac", 4.68228969737946),
    stereo("ravel", "_128kbps_opus", 4.465141897255348),
    stereo("moonlight", "_128kbps_aac", 4.684292801646114),
    stereo("harpsichord", "_96kbps_mp3", 4.22374532766003),
    stereo("guitar", "_64kbps_aac", 4.349722308064298),
    stereo("glock", "_48kbps_aac", 4.332452943882108),
    stereo("contrabassoon", "_24kbps_aac", 2.346868205375293, -0.00012),
    stereo("castanets", "", 4.732101253042348),
    Case("visqol_audio", GUITAR, FIVE, 4.314508583690198),
    Case("visqol_audio", FIVE, GUITAR, 4.550791119387646),
]
SPEECH_CASES = [
    Case(LATTICE, SPEECH, CODED, 3.3129234313964844, 0.00238),
    Case(EXPONENTIAL, SPEECH, CODED, 3.374505555111911, 0.00106),
    Case(LATTICE, SPEECH, SPEECH, 4.505550384521484, -0.00001),
    Case(LATTICE, GUITAR, SPEECH, 1.4982070922851562, -0.00667),
    Case(EXPONENTIAL, GUITAR, SPEECH, 1.269675546824064, -0.00067),
    Case(LATTICE, *LATE, 1.19293212890625, 0.00311),
    Case(EXPONENTIAL, *LATE, 1.357521678867611, 0.02795),
]


def folder_of(checkout: str) -> Path:
    place = os.environ.get("RDBENCH_CONFORMANCE")
    if not place or not (Path(place) / checkout).is_dir():
        pytest.skip(
            f"no conformance audio: set RDBENCH_CONFORMANCE to a folder that holds {checkout}"
        )
    return Path(place) / checkout


def read(checkout: str, name: str) -> AudioBatch:
    samples, rate = soundfile.read(folder_of(checkout) / f"{name}.wav", always_2d=True)
    audio = torch.from_numpy(np.ascontiguousarray(samples.T, dtype=np.float32))[None]
    return AudioBatch(audio, torch.tensor([audio.shape[-1]]), rate)


def pair(case: Case) -> tuple[AudioBatch, AudioBatch]:
    return (
        read("visqol/testdata", case.reference),
        read("visqol/testdata", case.reconstruction),
    )


def by_package(key: str, reference: AudioBatch, reconstruction: AudioBatch) -> float:
    """As the engine has it scored, but at the files' own rate and lengths."""
    metric, rule = backend(key, "reference"), definition(key).channels
    assert isinstance(metric, PoolBackend)
    sides = [signals_under(rule, one.samples[0].numpy()) for one in (reference, reconstruction)]
    ((first,), (second,)), rate = sides, reference.sample_rate
    prepared = metric.prepare(first, rate)
    return metric.score(prepared, reconstruction=second, sample_rate=rate).value


@pytest.mark.parametrize("case", AUDIO_CASES + SPEECH_CASES, ids=str)
def test_the_package_gives_what_the_reference_program_gives(case: Case) -> None:
    reference, reconstruction = pair(case)
    theirs = by_package(case.key, reference, reconstruction)
    assert theirs == pytest.approx(case.expected + case.package_off, abs=1e-5)


@pytest.mark.parametrize("case", AUDIO_CASES, ids=str)
def test_the_tensor_program_gives_what_the_package_gives(case: Case) -> None:
    """At the reference's length, to which the engine brings every reconstruction."""
    reference, reconstruction = pair(case)
    fitted = fit_lengths(reconstruction, reference.lengths)
    rule, metric = definition(case.key).channels, backend(case.key, "torch")
    assert isinstance(metric, DeviceBackend)
    (ours,) = metric.score(
        metric.prepare(batch_under(rule, reference)), reconstruction=batch_under(rule, fitted)
    )
    assert ours.value == pytest.approx(by_package(case.key, reference, fitted), abs=1e-6)
    if torch.equal(reference.lengths, reconstruction.lengths):
        assert ours.value == pytest.approx(case.expected, abs=1e-6)


@pytest.mark.parametrize(("key", "expected"), [("pesq_wb", 1.0832337), ("pesq_nb", 1.6072081)])
def test_pesq_is_without_corrigendum_2(key: str, expected: float) -> None:
    """With it, wide band gives 1.5128 on this pair (package pesqc2); narrow band is unchanged."""
    reference, noisy = read("PESQ/audio", "speech"), read("PESQ/audio", "speech_bab_0dB")
    assert by_package(key, reference, noisy) == pytest.approx(expected, abs=1e-5)
