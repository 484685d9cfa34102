"""SNR and SI-SDR against closed forms, and what they do where the ratio does not exist."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.registry import backend
from rdbench.types import AudioBatch, Score, Status

RATE = 16000
TIME = torch.arange(RATE, dtype=torch.float64) / RATE


def batch(*clips: torch.Tensor, fill: float = 0.0) -> AudioBatch:
    """Clips (channels, time) of any length in one batch, padded with `fill`."""
    lengths = torch.tensor([clip.shape[-1] for clip in clips])
    samples = torch.full((len(clips), clips[0].shape[0], int(lengths.max())), fill)
    for index, clip in enumerate(clips):
        samples[index, :, : clip.shape[-1]] = clip
    return AudioBatch(samples.float(), lengths, RATE)


def scores(key: str, reference: AudioBatch, reconstruction: AudioBatch) -> list[Score]:
    metric = backend(key)
    assert isinstance(metric, DeviceBackend)
    return metric.score(metric.prepare(reference), reconstruction=reconstruction)


def tone(hertz: float, amplitude: float = 0.3) -> torch.Tensor:
    """(1, RATE) with a whole number of periods: tones of different pitch are orthogonal."""
    return (amplitude * torch.sin(2 * math.pi * hertz * TIME))[None].float()


@given(
    gain=st.floats(0.05, 3.0),
    error=st.floats(1e-4, 1.0),
    offset=st.floats(-0.2, 0.2),
)
def test_si_sdr_of_a_scaled_tone_with_an_orthogonal_error_is_exact(
    gain: float, error: float, offset: float
) -> None:
    reference = batch(tone(200) + 0.1)
    reconstruction = batch(gain * tone(200) + error * tone(730) + offset)
    (score,) = scores("si_sdr", reference, reconstruction)
    assert score.value == pytest.approx(20 * math.log10(gain / error), abs=1e-3)


@given(error=st.floats(1e-4, 1.0))
def test_snr_of_an_orthogonal_error_is_exact(error: float) -> None:
    (score,) = scores("snr", batch(tone(200)), batch(tone(200) + error * tone(730)))
    assert score.value == pytest.approx(-20 * math.log10(error), abs=1e-3)


def test_a_gain_costs_snr_and_not_si_sdr() -> None:
    reference, reconstruction = batch(tone(200)), batch(0.5 * tone(200))
    assert scores("snr", reference, reconstruction)[0].value == pytest.approx(6.0206, abs=1e-3)
    assert scores("si_sdr", reference, reconstruction)[0].value == 100.0


def test_si_sdr_equals_the_dac_package_on_real_audio(read_clip, degrade) -> None:
    from dac.nn.loss import SISDRLoss

    samples = read_clip("speech/vctk_p225_a.wav", rate=RATE)
    reference = batch(torch.from_numpy(samples))
    reconstruction = batch(torch.from_numpy(degrade(samples)))
    theirs = -SISDRLoss()(reference.samples.double(), reconstruction.samples.double()).item()
    (ours,) = scores("si_sdr", reference, reconstruction)
    assert 5 < ours.value < 50
    assert ours.value == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("key", ["snr", "si_sdr"])
def test_identity_is_at_the_cap_and_noise_worsens(key: str) -> None:
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    reference = batch(tone(200))
    values = [
        scores(key, reference, batch(tone(200) + level * noise))[0].value
        for level in (0.0, 0.001, 0.01, 0.1, 1.0)
    ]
    assert values[0] == 100.0
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


def test_si_sdr_of_an_unrelated_reconstruction_is_low_and_never_minus_infinity() -> None:
    even = torch.tensor([[1.0, 0.0, -1.0, 0.0]]).repeat(1, 100)
    odd = torch.tensor([[0.0, 1.0, 0.0, -1.0]]).repeat(1, 100)
    assert scores("si_sdr", batch(even), batch(odd)) == [Score(-100.0)]


@pytest.mark.parametrize(
    ("key", "reference", "reconstruction", "reason"),
    [
        ("snr", torch.zeros(1, RATE), tone(200), "the reference is silent"),
        ("si_sdr", torch.zeros(1, RATE), tone(200), "the reference is silent"),
        ("si_sdr", torch.full((1, RATE), 0.3), tone(200), "the reference is silent"),
        ("si_sdr", tone(200), torch.zeros(1, RATE), "the reconstruction is silent"),
        ("si_sdr", tone(200), torch.full((1, RATE), 0.3), "the reconstruction is silent"),
    ],
)
def test_ratios_without_a_signal_are_undefined(
    key: str, reference: torch.Tensor, reconstruction: torch.Tensor, reason: str
) -> None:
    (score,) = scores(key, batch(reference), batch(reconstruction))
    assert math.isnan(score.value)
    assert (score.status, score.reason) == (Status.UNDEFINED, reason)


def test_a_silent_reconstruction_has_an_snr_of_zero() -> None:
    assert scores("snr", batch(tone(200)), batch(torch.zeros(1, RATE))) == [Score(0.0)]


@pytest.mark.parametrize("key", ["snr", "si_sdr"])
def test_samples_that_are_not_finite_fail_and_spare_their_neighbours(key: str) -> None:
    broken = tone(200) + 0.1 * tone(730)
    broken[0, 5] = math.nan
    good = tone(200) + 0.1 * tone(730)
    bad, fine = scores(key, batch(tone(200), tone(200)), batch(broken, good))
    assert bad.status is Status.FAILED
    assert math.isnan(bad.value)
    assert fine.value == pytest.approx(20.0, abs=1e-3)


@pytest.mark.parametrize("key", ["snr", "si_sdr"])
def test_a_clip_scores_in_a_batch_what_it_scores_alone(key: str) -> None:
    generator = torch.Generator().manual_seed(1)
    clips = [torch.randn(2, n, generator=generator) + 0.2 for n in (16000, 1, 777, 9001)]
    worse = [clip + 0.1 * torch.randn(clip.shape, generator=generator) for clip in clips]
    alone = [scores(key, batch(a), batch(b))[0] for a, b in zip(clips, worse, strict=True)]
    together = scores(key, batch(*clips, fill=math.nan), batch(*worse, fill=1e9))
    for one, other in zip(alone, together, strict=True):
        assert one.status is other.status
        assert other.value == pytest.approx(one.value, abs=1e-9, nan_ok=True)


def test_channels_are_scored_one_by_one_and_averaged_in_decibels() -> None:
    reference = torch.cat([tone(200), tone(300)])
    reconstruction = reference + torch.cat([0.1 * tone(730), 0.01 * tone(730)])
    (score,) = scores("snr", batch(reference), batch(reconstruction))
    assert score.value == pytest.approx((20 + 40) / 2, abs=1e-3)


def test_a_silent_channel_leaves_the_clip_undefined_and_is_named() -> None:
    reference = torch.cat([tone(200), torch.zeros(1, RATE)])
    (score,) = scores("snr", batch(reference), batch(reference))
    assert score.reason == "the reference is silent (channel 2 of 2)"


def test_reference_and_reconstruction_cannot_be_swapped_or_mismatched() -> None:
    metric = backend("snr")
    prepared = metric.prepare(batch(tone(200)))
    with pytest.raises(TypeError):
        metric.score(prepared, batch(tone(200)))
    with pytest.raises(ValueError, match="hertz"):
        metric.score(prepared, reconstruction=replace(batch(tone(200)), sample_rate=8000))
