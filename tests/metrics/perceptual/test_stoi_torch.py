"""STOI and ESTOI as tensor programs: pystoi's values, for any padding, batch and layout."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from rdbench.audio.corpus import embedded_corpus
from rdbench.metrics.perceptual.stoi import StoiBackend
from rdbench.metrics.perceptual.stoi_torch import StoiTorch, resample
from rdbench.types import AudioBatch, Score, Status

Signal = np.ndarray
Degradation = Callable[[Signal, int], Signal]
SPEECH = [clip for clip in embedded_corpus().clips if clip.domain == "speech"]


def read(index: int, rate: int, seconds: float = 3.0) -> Signal:
    import soundfile
    from scipy.signal import resample_poly

    samples, native = soundfile.read(SPEECH[index].path, dtype="float64", always_2d=True)
    common = math.gcd(rate, native)
    mono = resample_poly(samples[: int(seconds * native), 0], rate // common, native // common)
    return mono.astype(np.float32)


def noise(signal: Signal, rate: int) -> Signal:
    return signal + 0.02 * np.random.default_rng(1).standard_normal(len(signal))


def low_pass(signal: Signal, rate: int) -> Signal:
    from scipy.signal import butter, sosfilt

    return sosfilt(butter(6, 2500, fs=rate, output="sos"), signal)


def clipped(signal: Signal, rate: int) -> Signal:
    return np.clip(signal, -0.05, 0.05)


def quieter(signal: Signal, rate: int) -> Signal:
    return 0.03 * signal


def delayed(signal: Signal, rate: int) -> Signal:
    return np.concatenate([np.zeros(rate // 100), signal[: -(rate // 100)]])


def dropouts(signal: Signal, rate: int) -> Signal:
    out = signal.copy()
    for start in (rate // 2, rate, 2 * rate):
        out[start : start + rate // 10] = 0.0
    return out


DEGRADATIONS: tuple[Degradation, ...] = (noise, low_pass, clipped, quieter, delayed, dropouts)


def batch(*clips: Signal, rate: int, fill: float = 0.0) -> AudioBatch:
    """Clips (time,) or (channels, time), padded with `fill`, which no score may depend on."""
    wide = [torch.from_numpy(np.atleast_2d(clip).astype(np.float32)) for clip in clips]
    longest = max(clip.shape[-1] for clip in wide)
    padded = [
        torch.nn.functional.pad(clip, (0, longest - clip.shape[-1]), value=fill) for clip in wide
    ]
    return AudioBatch(torch.stack(padded), torch.tensor([clip.shape[-1] for clip in wide]), rate)


def scores(metric: StoiTorch, reference: AudioBatch, reconstruction: AudioBatch) -> list[Score]:
    return metric.score(metric.prepare(reference), reconstruction=reconstruction)


def by_package(reference: Signal, reconstruction: Signal, rate: int, *, extended: bool) -> float:
    from pystoi import stoi

    first, second = (item.astype(np.float32).astype(float) for item in (reference, reconstruction))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return float(stoi(first, second, rate, extended=extended))


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("rate", [10000, 16000, 22050, 44100, 48000])
def test_values_are_the_packages(rate: int, extended: bool) -> None:
    clips = [read(index, rate, seconds) for index, seconds in ((0, 3.0), (1, 2.2), (3, 2.7))]
    reference = batch(*clips, rate=rate)
    exact = StoiTorch(extended=extended)
    fast = StoiTorch(extended=extended, precision="float32")
    prepared, prepared_fast = exact.prepare(reference), fast.prepare(reference)
    for degradation in DEGRADATIONS:
        worse = [degradation(clip, rate) for clip in clips]
        theirs = [
            by_package(clip, bad, rate, extended=extended)
            for clip, bad in zip(clips, worse, strict=True)
        ]
        # What lies past a clip's length differs from zero here, and must not count.
        reconstruction = batch(*worse, rate=rate, fill=0.3)
        ours = [item.value for item in exact.score(prepared, reconstruction=reconstruction)]
        faster = [item.value for item in fast.score(prepared_fast, reconstruction=reconstruction)]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=degradation.__name__)
        np.testing.assert_allclose(faster, theirs, rtol=0, atol=1e-4, err_msg=degradation.__name__)


@pytest.mark.shared
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(
    "file", ["speech/vctk_p225_a.wav", "speech/thorsten_whisper.wav", "speech/254-12312-0000.flac"]
)
def test_values_on_real_speech_through_a_real_codec(file: str, extended: bool, read_clip) -> None:
    from rdbench.codecs.registry import create

    rate = 16000
    reference = batch(read_clip(file, rate=rate)[0], rate=rate)
    codec = create("opus", points=[6, 16])
    for point in codec.points:
        encoded = codec.encode(reference, point)
        variant = codec.variants[0]
        coded = codec.decode(codec.decoder_input(encoded, variant, [0]))
        theirs = by_package(
            reference.samples[0, 0].numpy(), coded.samples[0, 0].numpy(), rate, extended=extended
        )
        (ours,) = scores(StoiTorch(extended=extended), reference, coded)
        assert ours.value == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_the_resampler_is_the_packages(rate: int) -> None:
    from pystoi.utils import resample_oct

    signal = np.random.default_rng(0).standard_normal(2 * rate + 17)
    ours = resample(torch.from_numpy(signal)[None], rate)[0].numpy()
    theirs = resample_oct(signal, 10000, rate)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("extended", [False, True])
def test_an_identity_scores_one(extended: bool) -> None:
    reference = batch(read(0, 16000), rate=16000)
    (score,) = scores(StoiTorch(extended=extended), reference, reference)
    assert score.value == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("extended", [False, True])
def test_channels_are_scored_apart_and_averaged(extended: bool) -> None:
    left, right = read(0, 16000), read(1, 16000)
    length = min(len(left), len(right))
    clean = np.stack([left[:length], right[:length]])
    worse = np.stack([noise(clean[0], 16000), clipped(clean[1], 16000)])
    metric = StoiTorch(extended=extended)
    (stereo,) = scores(metric, batch(clean, rate=16000), batch(worse, rate=16000))
    apart = [
        scores(metric, batch(clean[i], rate=16000), batch(worse[i], rate=16000))[0].value
        for i in range(2)
    ]
    assert stereo.value == pytest.approx(sum(apart) / 2, abs=1e-12)


@pytest.mark.parametrize("extended", [False, True])
def test_what_cannot_be_scored_is_undefined_as_with_the_package(extended: bool) -> None:
    rate = 16000
    speech = read(0, rate)
    mostly_silent = np.zeros_like(speech)
    mostly_silent[rate : rate + rate // 3] = speech[rate : rate + rate // 3]
    cases = [
        (speech, np.zeros_like(speech)),
        (np.zeros_like(speech), speech),
        (mostly_silent, noise(mostly_silent, rate)),
        (speech[rate : rate + rate // 3], speech[rate : rate + rate // 3]),
        (speech, noise(speech, rate)),
    ]
    ours = scores(
        StoiTorch(extended=extended),
        batch(*(first for first, _ in cases), rate=rate),
        batch(*(second for _, second in cases), rate=rate),
    )
    package = StoiBackend("estoi" if extended else "stoi")
    for score, (first, second) in zip(ours, cases, strict=True):
        prepared = package.prepare(first.astype(np.float32), rate)
        theirs = package.score(prepared, reconstruction=second.astype(np.float32), sample_rate=rate)
        assert score.status is theirs.status
        if score.status is not Status.OK:
            assert score.reason == theirs.reason
    assert [score.status is Status.OK for score in ours] == [False] * 4 + [True]
    assert all(math.isnan(score.value) for score in ours[:4])


def test_one_channel_without_a_score_leaves_the_clip_without_one() -> None:
    speech = read(0, 16000)
    clean = np.stack([speech, np.zeros_like(speech)])
    (score,) = scores(StoiTorch(extended=False), batch(clean, rate=16000), batch(clean, rate=16000))
    assert score.status is Status.UNDEFINED
    assert "channel 2 of 2" in score.reason


def test_a_segment_of_zeros_counts_as_the_mean_of_the_packages_noise() -> None:
    from pystoi import stoi

    rate = 10000
    speech = read(0, rate)
    half = np.where(np.arange(len(speech)) < len(speech) // 2, speech, 0.0)
    draws = []
    for seed in range(24):
        np.random.seed(seed)  # noqa: NPY002 (pystoi uses the global generator)
        draws.append(stoi(speech.astype(float), half.astype(float), rate, extended=True))
    error = np.std(draws) / math.sqrt(len(draws))
    (score,) = scores(StoiTorch(extended=True), batch(speech, rate=rate), batch(half, rate=rate))
    assert 0.0 < error < 0.002
    assert score.value == pytest.approx(float(np.mean(draws)), abs=5 * error)


def test_a_reconstruction_of_other_clips_is_refused() -> None:
    metric = StoiTorch(extended=False)
    prepared = metric.prepare(batch(read(0, 16000), rate=16000))
    with pytest.raises(ValueError, match="differ"):
        metric.score(prepared, reconstruction=batch(read(0, 16000, 2.0), rate=16000))


@pytest.mark.cuda
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(("precision", "bound"), [("float64", 1e-6), ("float32", 1e-4)])
def test_a_gpu_gives_the_same(extended: bool, precision, bound: float) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    clips = [read(0, 48000), read(1, 48000, 2.0)]
    reference = batch(*clips, rate=48000)
    reconstruction = batch(*(noise(clip, 48000) for clip in clips), rate=48000)
    exact = scores(StoiTorch(extended=extended), reference, reconstruction)
    metric = StoiTorch(extended=extended, precision=precision)
    there = scores(metric, reference.to("cuda"), reconstruction.to("cuda"))
    for one, other in zip(exact, there, strict=True):
        assert one.value == pytest.approx(other.value, abs=bound)
