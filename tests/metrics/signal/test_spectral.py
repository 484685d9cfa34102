"""DAC's losses against the package, the log-spectral distance against its formula."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.registry import FAMILIES, backend, definition
from rdbench.types import AudioBatch, Score, Status

KEYS = FAMILIES["rdbench.metrics.signal.spectral"]
DAC_KEYS = tuple(key for key in KEYS if key != "lsd")

# What CI compares: speech at 16, 22.05 and 48 kHz, mono and stereo music and sounds.
SUBSET = (
    "speech/103-1240-0000.flac",
    "speech/vctk_p225_a.wav",
    "music/loop_tabla.flac",
    "music/ambi_choir.flac",
    "sound/vinyl_hiss.flac",
    "sound/bd_boom.flac",
)


def rate_of(key: str) -> int:
    return definition(key).sample_rate or 44100


def batch(key: str, *clips: torch.Tensor, fill: float = 0.0) -> AudioBatch:
    lengths = torch.tensor([clip.shape[-1] for clip in clips])
    samples = torch.full((len(clips), clips[0].shape[0], int(lengths.max())), fill)
    for index, clip in enumerate(clips):
        samples[index, :, : clip.shape[-1]] = clip
    return AudioBatch(samples.float(), lengths, rate_of(key))


def scores(key: str, reference: AudioBatch, reconstruction: AudioBatch) -> list[Score]:
    metric = backend(key)
    assert isinstance(metric, DeviceBackend)
    return metric.score(metric.prepare(reference), reconstruction=reconstruction)


def dac_loss(key: str, reference: torch.Tensor, reconstruction: torch.Tensor) -> float:
    """The dac package's loss of (channels, time) under the settings of its conf/base.yml."""
    from audiotools import AudioSignal
    from dac.nn import loss

    if key.startswith("mel_"):
        function = loss.MelSpectrogramLoss(
            n_mels=[5, 10, 20, 40, 80, 160, 320],
            window_lengths=[32, 64, 128, 256, 512, 1024, 2048],
            mel_fmin=[0.0] * 7,
            mel_fmax=[None] * 7,
            pow=1.0,
            clamp_eps=1e-5,
            mag_weight=0.0,
        )
    else:
        function = loss.MultiScaleSTFTLoss(window_lengths=[2048, 512])
    signals = [AudioSignal(x.clone()[None], rate_of(key)) for x in (reconstruction, reference)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # librosa's, of empty filters
        return float(function(*signals))


def compare_with_dac(key: str, file: str, seconds: float | None, read_clip, degrade) -> None:
    samples = read_clip(file, rate=rate_of(key), seconds=seconds)
    reference, reconstruction = torch.from_numpy(samples), torch.from_numpy(degrade(samples))
    (ours,) = scores(key, batch(key, reference), batch(key, reconstruction))
    assert ours.value == pytest.approx(dac_loss(key, reference, reconstruction), rel=1e-4)
    assert ours.value > 0.01


@pytest.mark.parametrize("key", DAC_KEYS)
@pytest.mark.parametrize("file", SUBSET)
def test_distances_equal_the_dac_package(key: str, file: str, read_clip, degrade) -> None:
    compare_with_dac(key, file, 1.5, read_clip, degrade)


@pytest.mark.slow
@pytest.mark.parametrize("key", DAC_KEYS)
def test_distances_equal_the_dac_package_on_every_shared_clip(
    key: str, clip_files, read_clip, degrade
) -> None:
    for file in (file for files in clip_files.values() for file in files):
        compare_with_dac(key, file, None, read_clip, degrade)


def test_lsd_equals_its_formula(read_clip, degrade) -> None:
    from scipy.signal import get_window

    samples = read_clip("music/loop_tabla.flac", rate=44100, seconds=1.0)
    worse = degrade(samples)

    def decibels(channel: np.ndarray) -> np.ndarray:
        window = get_window("hann", 2048)
        starts = range(0, len(channel) - 2048 + 1, 512)
        frames = np.stack([window * channel[i : i + 2048].astype(float) for i in starts])
        power = np.abs(np.fft.rfft(frames)) ** 2 / (window.sum() / 2) ** 2
        return 10 * np.log10(np.maximum(power, 1e-10))

    expected = np.mean(
        [
            np.sqrt(np.mean((decibels(x) - decibels(y)) ** 2, axis=1)).mean()
            for x, y in zip(samples, worse, strict=True)
        ]
    )
    (ours,) = scores(
        "lsd", batch("lsd", torch.from_numpy(samples)), batch("lsd", torch.from_numpy(worse))
    )
    assert ours.value == pytest.approx(expected, rel=1e-4)


def test_lsd_of_a_gain_is_the_gain_in_decibels() -> None:
    noise = 0.5 * torch.randn(1, 44100, generator=torch.Generator().manual_seed(0))
    (score,) = scores("lsd", batch("lsd", noise), batch("lsd", noise / 2))
    assert score.value == pytest.approx(20 * math.log10(2), abs=1e-3)


@pytest.mark.parametrize("key", KEYS)
def test_identity_is_zero_and_noise_worsens(key: str) -> None:
    generator = torch.Generator().manual_seed(0)
    reference = 0.2 * torch.randn(1, 20000, generator=generator).cumsum(-1).sin()
    noise = torch.randn(1, 20000, generator=generator)
    values = [
        scores(key, batch(key, reference), batch(key, reference + level * noise))[0].value
        for level in (0.0, 0.001, 0.01, 0.1)
    ]
    assert values[0] == definition(key).identity == 0.0
    assert values == sorted(set(values))


@pytest.mark.parametrize("key", ["mel_dac_16k", "stft_dac_48k", "lsd"])
def test_a_clip_scores_in_a_batch_what_it_scores_alone(key: str) -> None:
    generator = torch.Generator().manual_seed(1)
    clips = [0.1 * torch.randn(2, n, generator=generator) for n in (9000, 700, 5001, 9000, 2048)]
    worse = [clip + 0.02 * torch.randn(clip.shape, generator=generator) for clip in clips]
    alone = [
        scores(key, batch(key, a), batch(key, b))[0] for a, b in zip(clips, worse, strict=True)
    ]
    together = scores(key, batch(key, *clips, fill=math.nan), batch(key, *worse, fill=0.7))
    assert [score.status for score in alone].count(Status.OK) == 4
    for one, other in zip(alone, together, strict=True):
        assert (one.status, one.reason) == (other.status, other.reason)
        assert other.value == pytest.approx(one.value, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(("key", "shortest"), [(k, 1025) for k in DAC_KEYS] + [("lsd", 2048)])
def test_clips_shorter_than_the_longest_window_are_undefined(key: str, shortest: int) -> None:
    noise = 0.1 * torch.randn(1, shortest, generator=torch.Generator().manual_seed(0))
    enough = batch(key, noise)
    assert scores(key, enough, enough) == [Score(0.0)]
    short = batch(key, noise[:, :-1])
    (score,) = scores(key, short, short)
    assert score.status is Status.UNDEFINED
    assert str(shortest) in score.reason
    if key != "lsd":
        assert definition(key).minimum_seconds == shortest / rate_of(key)


@pytest.mark.parametrize("key", ["mel_dac_24k", "stft_dac_24k", "lsd"])
def test_silence_has_a_distance_and_nan_has_none(key: str) -> None:
    noise = 0.1 * torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))
    silence, broken = torch.zeros(1, 4096), noise.clone()
    broken[0, 2000] = math.nan
    quiet, loud, failed = scores(
        key, batch(key, silence, noise, noise), batch(key, silence, silence, broken)
    )
    assert quiet.value == 0.0
    assert loud.value > 1.0
    assert failed.status is Status.FAILED
    assert math.isnan(failed.value)


def test_a_large_batch_is_transformed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from rdbench.metrics.signal import spectral

    generator = torch.Generator().manual_seed(2)
    clips = [0.1 * torch.randn(1, 3000, generator=generator) for _ in range(5)]
    reference, worse = batch("lsd", *clips), batch("lsd", *[clip.tanh() for clip in clips])
    at_once = [score.value for score in scores("lsd", reference, worse)]
    monkeypatch.setattr(spectral.LogSpectralDistance, "at_once", 6000)
    in_parts = [score.value for score in scores("lsd", reference, worse)]
    assert in_parts == pytest.approx(at_once, rel=1e-6)


def test_a_rate_other_than_the_keys_is_refused() -> None:
    audio = AudioBatch(torch.zeros(1, 1, 4096), torch.tensor([4096]), 44100)
    with pytest.raises(ValueError, match="16000 Hz, not 44100 Hz"):
        backend("mel_dac_16k").prepare(audio)
