"""Anchors: identity changes nothing; low-pass takes the high band, nothing else, and no delay."""

from __future__ import annotations

import math

import pytest
import torch

from rdbench.codecs.anchors import Identity, LowPass
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import CODES, AudioBatch, CodecError, OperatingPoint


def batch(samples: torch.Tensor, rate: int) -> AudioBatch:
    lengths = torch.full((samples.shape[0],), samples.shape[-1])
    return AudioBatch(samples.float(), lengths, rate)


def through(codec, audio: AudioBatch, point: OperatingPoint) -> torch.Tensor:
    encoded = codec.encode(audio, point)
    return codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips)).samples


@pytest.mark.parametrize("codec", [Identity(), LowPass(), LowPass(points=[1000, "12kHz"])])
def test_anchors_keep_the_rules_of_codecs(codec) -> None:
    check_codec(codec)


def test_identity_gives_back_the_very_samples_and_has_no_rate() -> None:
    codec = Identity()
    audio = batch(torch.randn(2, 3, 1001), 22_050)
    assert torch.equal(through(codec, audio, codec.points[0]), audio.samples)
    assert rates(codec.encode(audio, codec.points[0])) == {}


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("cutoff", [3500, 7000])
def test_low_pass_is_flat_below_and_65_db_down_above(rate: int, cutoff: int) -> None:
    codec = LowPass(points=[cutoff])
    impulse = torch.zeros(1, 1, 16_384)
    impulse[..., 8192] = 1
    response = through(codec, batch(impulse, rate), codec.points[0])[0, 0].double()
    frequency = torch.linspace(0, rate / 2, 8193, dtype=torch.float64)
    decibels = 20 * torch.log10(torch.fft.rfft(response).abs() + 1e-12)
    assert float(decibels[frequency <= cutoff].abs().max()) < 0.01
    stop = frequency >= cutoff * 8 / 7
    if bool(stop.any()):
        assert float(decibels[stop].max()) < -65
    # Linear phase with its delay removed: symmetrical about where the impulse was.
    assert torch.allclose(response[1:], response[1:].flip(0), atol=1e-6)


def test_low_pass_meets_the_recommendation_for_listening_tests() -> None:
    codec = LowPass(points=["3.5kHz"])
    time = torch.arange(48_000) / 48_000
    level = {}
    for hertz in (1000, 3500, 4000, 4500):
        tone = torch.sin(2 * math.pi * hertz * time)[None, None]
        kept = through(codec, batch(tone, 48_000), codec.points[0])[..., 4800:-4800]
        level[hertz] = 20 * math.log10(float(kept.std() / tone.std()))
    assert abs(level[1000]) < 0.1
    assert abs(level[3500]) < 0.1
    assert level[4000] < -25
    assert level[4500] < -50


def test_low_pass_leaves_narrow_audio_alone() -> None:
    codec = LowPass(points=[7000])
    audio = batch(torch.randn(1, 2, 4000), 14_000)
    assert torch.equal(through(codec, audio, codec.points[0]), audio.samples)


def test_points_are_cutoffs() -> None:
    assert [p.name for p in LowPass().points] == ["3.5kHz", "7kHz"]
    assert [p.target_kbps for p in LowPass().points] == [None, None]
    assert [p.name for p in LowPass(points=["7kHz", 500, "3500"]).points] == [
        "0.5kHz", "3.5kHz", "7kHz",
    ]  # fmt: skip


@pytest.mark.parametrize("bad", [[3.5], ["low"], ["kHz"], [True], [], "7kHz", [7000, "7kHz"]])
def test_what_is_no_cutoff_is_refused(bad) -> None:
    with pytest.raises(CodecError, match="lowpass"):
        LowPass(points=bad)


def test_identity_has_one_point() -> None:
    assert [p.name for p in Identity(points=["identity"]).points] == ["identity"]
    with pytest.raises(CodecError, match="one point"):
        Identity(points=[6])
