"""The resampler is the filter it says it is, and no clip hears its neighbours or its padding."""

from __future__ import annotations

import math

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.audio.resample import (
    BETA,
    RESAMPLER,
    ROLLOFF,
    fit_lengths,
    resample,
    resample_batch,
    resampled_length,
)
from rdbench.types import AudioBatch

RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000)
PAIRS = [
    (44100, 16000),
    (48000, 44100),
    (16000, 48000),
    (22050, 24000),
    (8000, 192000),
    (192000, 8000),
]
AWKWARD = [(44101, 48000), (48000, 44101), (22255, 16000)]


def sine(rate: int, frequency: float, samples: int) -> torch.Tensor:
    time = torch.arange(samples, dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * frequency * time + 0.3)


def ragged(
    rate: int, lengths: list[int], channels: int = 2, *, garbage: bool = False
) -> AudioBatch:
    generator = torch.Generator().manual_seed(5)
    samples = torch.rand(len(lengths), channels, max(lengths), generator=generator) - 0.5
    for index, length in enumerate(lengths):
        if not garbage:
            samples[index, :, length:] = 0
    return AudioBatch(samples, torch.tensor(lengths), rate)


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS + AWKWARD)
def test_a_sine_stays_the_same_sine(from_rate: int, to_rate: int) -> None:
    frequency = 0.2 * min(from_rate, to_rate)
    samples = round(0.2 * from_rate)
    got = resample(sine(from_rate, frequency, samples).float(), from_rate, to_rate)
    expected = sine(to_rate, frequency, got.shape[-1])
    edge = round(0.02 * to_rate)
    assert (got - expected)[edge:-edge].abs().max() < 2e-6


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48000, 16000), (44100, 16000), (48000, 8000)])
def test_what_the_new_rate_cannot_hold_is_gone(from_rate: int, to_rate: int) -> None:
    tone = sine(from_rate, 0.53 * to_rate, from_rate).float()
    edge = round(0.05 * to_rate)
    assert resample(tone, from_rate, to_rate)[edge:-edge].abs().max() < 2e-6


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
def test_it_is_torchaudios_filter(from_rate: int, to_rate: int) -> None:
    samples = ragged(from_rate, [from_rate // 8]).samples
    expected = torchaudio.functional.resample(
        samples.double(),
        from_rate,
        to_rate,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )
    assert (resample(samples, from_rate, to_rate) - expected).abs().max() < 1e-6
    assert all(str(value) in RESAMPLER for value in (64, ROLLOFF, BETA))


def test_ratios_too_awkward_for_a_dense_table_get_the_same_filter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = ragged(44100, [4000]).samples
    for to_rate in (16000, 48000, 96000):
        dense = resample(samples, 44100, to_rate)
        with monkeypatch.context() as patch:
            patch.setattr("rdbench.audio.resample._DENSE_LIMIT", 0)
            direct = resample(samples, 44100, to_rate)
        assert direct.shape == dense.shape
        assert (direct - dense).abs().max() < 1e-6


@settings(max_examples=60)
@given(st.sampled_from((*RATES, 44101)), st.sampled_from((*RATES, 12347)), st.integers(1, 2000))
def test_the_length_is_rounded_up(from_rate: int, to_rate: int, length: int) -> None:
    expected = math.ceil(length * to_rate / from_rate)
    assert resampled_length(length, from_rate, to_rate) == expected
    assert resample(torch.ones(length), from_rate, to_rate).shape == (expected,)


def test_equal_rates_change_nothing() -> None:
    samples = torch.rand(2, 100)
    assert resample(samples, 44100, 44100) is samples
    with pytest.raises(ValueError, match="positive"):
        resample(samples, 0, 44100)
    assert resample(torch.zeros(2, 0), 44100, 16000).shape == (2, 0)


@pytest.mark.parametrize(("from_rate", "to_rate"), [*PAIRS, (44101, 48000)])
@pytest.mark.parametrize("garbage", [False, True])
def test_a_clip_in_a_batch_is_the_clip_alone(from_rate: int, to_rate: int, garbage: bool) -> None:
    lengths = [from_rate // 20, 1, from_rate // 20 - 7, 311]
    batch = ragged(from_rate, lengths, garbage=garbage)
    before = batch.samples.clone()
    got = resample_batch(batch, to_rate)
    assert torch.equal(batch.samples, before)
    assert got.sample_rate == to_rate
    assert got.lengths.tolist() == [math.ceil(n * to_rate / from_rate) for n in lengths]
    for index, length in enumerate(lengths):
        alone = resample(batch.samples[index, :, :length], from_rate, to_rate)
        valid = int(got.lengths[index])
        assert alone.shape[-1] == valid
        assert (got.samples[index, :, :valid] - alone).abs().max() < 1e-6
        assert not got.samples[index, :, valid:].any()


def test_there_and_back_ends_at_the_reference_lengths() -> None:
    batch = ragged(44100, [4410, 4000, 1])
    back = fit_lengths(resample_batch(resample_batch(batch, 48000), 44100), batch.lengths)
    assert torch.equal(back.lengths, batch.lengths)
    assert back.samples.shape == batch.samples.shape
    assert not back.samples[1, :, 4000:].any()


def test_lengths_are_fitted_by_cutting_and_by_zeros() -> None:
    batch = ragged(16000, [100, 60, 80], garbage=True)
    fitted = fit_lengths(batch, torch.tensor([70, 120, 80]))
    assert fitted.samples.shape == (3, 2, 120)
    assert torch.equal(fitted.samples[0, :, :70], batch.samples[0, :, :70])
    assert torch.equal(fitted.samples[1, :, :60], batch.samples[1, :, :60])
    assert torch.equal(fitted.samples[2, :, :80], batch.samples[2, :, :80])
    for index, valid in enumerate((70, 60, 80)):
        assert not fitted.samples[index, :, valid:].any()


@pytest.mark.cuda
def test_cuda_gives_what_the_cpu_gives() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for from_rate, to_rate in [*PAIRS, (44101, 48000)]:
        batch = ragged(from_rate, [from_rate // 4, from_rate // 5])
        there = resample_batch(batch.to("cuda"), to_rate)
        here = resample_batch(batch, to_rate)
        assert (there.samples.cpu() - here.samples).abs().max() < 2e-6
