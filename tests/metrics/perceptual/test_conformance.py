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

import numpy as np
import pytest
import soundfile
import torch

from rdbench.audio.resample import fit_lengths
from rdbench.metrics.base import DeviceBackend, PoolBackend
from rdbench.metrics.channels import batch_under, signals_under
from rdbench.metrics.registry import backend, definition
from rdbench.types import AudioBatch

STEREO, SHORT = "conformance_testdata_subset", "short_duration/5_second/guitar48_stereo_5_sec"
SPEECH, GUITAR = "clean_speech/CA01_01", f"{STEREO}/guitar48_stereo"
AUDIO_CASES = {
    (f"{STEREO}/strauss48_stereo", f"{STEREO}/strauss48_stereo_lp35"): 1.3888791489130758,
    (f"{STEREO}/steely48_stereo", f"{STEREO}/steely48_stereo_lp7"): 2.2501683734385183,
    (f"{STEREO}/sopr48_stereo", f"{STEREO}/sopr48_stereo_256kbps_aac"): 4.68228969737946,
    (f"{STEREO}/ravel48_stereo", f"{STEREO}/ravel48_stereo_128kbps_opus"): 4.465141897255348,
    (f"{STEREO}/moonlight48_stereo", f"{STEREO}/moonlight48_stereo_128kbps_aac"): 4.684292801646114,
    (f"{STEREO}/harpsichord48_stereo", f"{STEREO}/harpsichord48_stereo_96kbps_mp3"):
        4.22374532766003,
    (GUITAR, f"{GUITAR}_64kbps_aac"): 4.349722308064298,
    (f"{STEREO}/glock48_stereo", f"{STEREO}/glock48_stereo_48kbps_aac"): 4.332452943882108,
    (f"{STEREO}/contrabassoon48_stereo", f"{STEREO}/contrabassoon48_stereo_24kbps_aac"):
        2.346868205375293,
    (f"{STEREO}/castanets48_stereo", f"{STEREO}/castanets48_stereo"): 4.732101253042348,
    (GUITAR, SHORT): 4.314508583690198,
    (SHORT, GUITAR): 4.550791119387646,
}  # fmt: skip
# Of the lattice, then of the exponential; None: another mapping than those there are.
SPEECH_CASES = {
    (SPEECH, "clean_speech/transcoded_CA01_01"): (3.3129234313964844, 3.374505555111911),
    (SPEECH, SPEECH): (4.505550384521484, None),
    (GUITAR, SPEECH): (1.4982070922851562, 1.269675546824064),
    ("alignment/reference", "alignment/degraded"): (1.19293212890625, 1.357521678867611),
}
SPEECH_KEYS = ("visqol_speech", "visqol_speech_exponential")
# By how much the package visqol-python lies off where it does: its program is a port, and speech
# mode's choice of patches and its mapping turn small differences into larger ones.
PACKAGE_IS_OFF = {
    ("visqol_audio", f"{STEREO}/contrabassoon48_stereo_24kbps_aac"): -0.00012,
    ("visqol_speech", "clean_speech/transcoded_CA01_01"): 0.00238,
    ("visqol_speech_exponential", "clean_speech/transcoded_CA01_01"): 0.00106,
    ("visqol_speech", SPEECH, GUITAR): -0.00667,
    ("visqol_speech_exponential", SPEECH, GUITAR): -0.00067,
    ("visqol_speech", "alignment/degraded"): 0.00311,
    ("visqol_speech_exponential", "alignment/degraded"): 0.02795,
}


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


def expected_of_package(key: str, pair: tuple[str, str], expected: float) -> float:
    reference, reconstruction = pair
    off = PACKAGE_IS_OFF.get((key, reconstruction), 0.0)
    return expected + PACKAGE_IS_OFF.get((key, reconstruction, reference), off)


def by_package(key: str, reference: AudioBatch, reconstruction: AudioBatch) -> float:
    """As the engine has it scored, but at the files' own rate and lengths."""
    metric, rule = backend(key, "reference"), definition(key).channels
    assert isinstance(metric, PoolBackend)
    sides = [signals_under(rule, one.samples[0].numpy()) for one in (reference, reconstruction)]
    ((first,), (second,)), rate = sides, reference.sample_rate
    prepared = metric.prepare(first, rate)
    return metric.score(prepared, reconstruction=second, sample_rate=rate).value


@pytest.mark.parametrize("pair", AUDIO_CASES, ids=lambda pair: pair[1].split("/")[-1])
def test_visqol_in_audio_mode(pair: tuple[str, str]) -> None:
    reference, reconstruction = (read("visqol/testdata", name) for name in pair)
    expected = expected_of_package("visqol_audio", pair, AUDIO_CASES[pair])
    theirs = by_package("visqol_audio", reference, reconstruction)
    assert theirs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pair", AUDIO_CASES, ids=lambda pair: pair[1].split("/")[-1])
def test_the_tensor_program_on_the_same_pairs(pair: tuple[str, str]) -> None:
    """At the reference's length, to which the engine brings every reconstruction."""
    reference, reconstruction = (read("visqol/testdata", name) for name in pair)
    fitted = fit_lengths(reconstruction, reference.lengths)
    rule, metric = definition("visqol_audio").channels, backend("visqol_audio", "torch")
    assert isinstance(metric, DeviceBackend)
    (ours,) = metric.score(
        metric.prepare(batch_under(rule, reference)), reconstruction=batch_under(rule, fitted)
    )
    assert ours.value == pytest.approx(by_package("visqol_audio", reference, fitted), abs=1e-6)
    if reference.lengths == reconstruction.lengths:
        assert ours.value == pytest.approx(AUDIO_CASES[pair], abs=1e-5)


@pytest.mark.parametrize("pair", SPEECH_CASES, ids="-".join)
def test_visqol_in_speech_mode(pair: tuple[str, str]) -> None:
    reference, reconstruction = (read("visqol/testdata", name) for name in pair)
    for key, known in zip(SPEECH_KEYS, SPEECH_CASES[pair], strict=True):
        if known is not None:
            expected = expected_of_package(key, pair, known)
            theirs = by_package(key, reference, reconstruction)
            assert theirs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("key", "expected"), [("pesq_wb", 1.0832337), ("pesq_nb", 1.6072081)])
def test_pesq_is_without_corrigendum_2(key: str, expected: float) -> None:
    """With it, wide band gives 1.5128 on this pair (package pesqc2); narrow band is unchanged."""
    reference, noisy = read("PESQ/audio", "speech"), read("PESQ/audio", "speech_bab_0dB")
    assert by_package(key, reference, noisy) == pytest.approx(expected, abs=1e-5)
