"""ViSQOL as a tensor program: each stage, and the whole, give what visqol-python gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.audio.corpus import embedded_corpus
from rdbench.metrics.perceptual.visqol_torch import alignment, mapping, matching, nsim, patches
from rdbench.metrics.perceptual.visqol_torch.backend import VisqolTorch
from rdbench.metrics.perceptual.visqol_torch.filterbank import Filterbank, centre_frequencies
from rdbench.metrics.perceptual.visqol_torch.modes import AUDIO, SPEECH, Mode
from rdbench.metrics.perceptual.visqol_torch.refinement import Slice
from rdbench.types import AudioBatch, Score, Status

Signal = np.ndarray
Degradation = Callable[[Signal, int], Signal]
CPU = torch.device("cpu")
MODES = {"visqol_audio": AUDIO, "visqol_speech": SPEECH}
CLIPS = {clip.name: clip.path for clip in embedded_corpus().clips}


def read(name: str, rate: int, seconds: float = 2.5, channel: int = 0) -> Signal:
    import soundfile
    from scipy.signal import resample_poly

    samples, native = soundfile.read(CLIPS[name], dtype="float64", always_2d=True)
    common = math.gcd(rate, native)
    wave = samples[: int(seconds * native), channel]
    return resample_poly(wave, rate // common, native // common).astype(np.float32)


def identity(signal: Signal, rate: int) -> Signal:
    return signal


def noise(signal: Signal, rate: int) -> Signal:
    return signal + 0.01 * np.random.default_rng(1).standard_normal(len(signal))


def low_pass(signal: Signal, rate: int) -> Signal:
    from scipy.signal import butter, sosfilt

    return sosfilt(butter(6, 3500, fs=rate, output="sos"), signal)


def clipped(signal: Signal, rate: int) -> Signal:
    return np.clip(signal, -0.1 * np.abs(signal).max(), 0.1 * np.abs(signal).max())


def quieter(signal: Signal, rate: int) -> Signal:
    return 0.1 * signal


def late(signal: Signal, rate: int) -> Signal:
    return np.concatenate([np.zeros(rate // 10), signal[: -(rate // 10)]])


def early(signal: Signal, rate: int) -> Signal:
    return np.concatenate([signal[rate // 10 :], np.zeros(rate // 10)])


def drifting(signal: Signal, rate: int) -> Signal:
    """A clock that is 0.1 % off: no two patches have the same lag."""
    position = np.arange(len(signal)) * 1.001
    return np.interp(position, np.arange(len(signal)), signal, right=0.0)


def dropouts(signal: Signal, rate: int) -> Signal:
    out = signal.copy()
    for start in (rate // 2, rate, 3 * rate // 2):
        out[start : start + rate // 5] = 0.0
    return out


DEGRADATIONS: tuple[Degradation, ...] = (
    identity,
    noise,
    low_pass,
    clipped,
    quieter,
    late,
    early,
    drifting,
    dropouts,
)


def batch(*clips: Signal, rate: int, fill: float = 0.0) -> AudioBatch:
    wide = [torch.from_numpy(np.atleast_2d(clip).astype(np.float32)) for clip in clips]
    longest = max(clip.shape[-1] for clip in wide)
    padded = [
        torch.nn.functional.pad(clip, (0, longest - clip.shape[-1]), value=fill) for clip in wide
    ]
    return AudioBatch(torch.stack(padded), torch.tensor([clip.shape[-1] for clip in wide]), rate)


def scores(metric: VisqolTorch, reference: AudioBatch, reconstruction: AudioBatch) -> list[Score]:
    return metric.score(metric.prepare(reference), reconstruction=reconstruction)


@pytest.fixture(scope="module")
def package():
    """visqol-python's score of a pair, by key; `mapping` as in its `use_lattice_model`."""
    from visqol import VisqolApi

    programs = {}

    def measure(key: str, reference: Signal, reconstruction: Signal, *, lattice: bool = True):
        name = (key, lattice)
        if name not in programs:
            programs[name] = VisqolApi()
            programs[name].create(
                mode=MODES[key].name, use_lattice_model=lattice and MODES[key] is SPEECH
            )
        first, second = reference.astype(np.float32), reconstruction.astype(np.float32)
        return programs[name].measure_from_arrays(first, second, MODES[key].rate).moslqo

    return measure


# The whole


@pytest.mark.parametrize(
    ("key", "clip"),
    [
        ("visqol_audio", "speech_german.flac"),
        ("visqol_audio", "music_piano_and_drums.flac"),
        ("visqol_speech", "speech_english_us.flac"),
        ("visqol_speech", "speech_french.flac"),
    ],
)
def test_values_are_the_packages(key: str, clip: str, package) -> None:
    rate = MODES[key].rate
    clean = read(clip, rate)
    reference = batch(clean, rate=rate)
    metric = VisqolTorch(key)
    prepared = metric.prepare(reference)
    for degradation in DEGRADATIONS:
        worse = degradation(clean, rate)
        (ours,) = metric.score(prepared, reconstruction=batch(worse, rate=rate))
        theirs = package(key, clean, worse)
        bound = 1e-6 if key == "visqol_audio" else 1e-4
        assert ours.value == pytest.approx(theirs, abs=bound), degradation.__name__


@pytest.mark.shared
@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("visqol_audio", "music/loop_tabla.flac"),
        ("visqol_audio", "sound/vinyl_backspin.flac"),
        ("visqol_speech", "speech/vctk_p225_a.wav"),
        ("visqol_speech", "speech/thorsten_whisper.wav"),
    ],
)
def test_values_on_real_audio_through_real_codecs(key: str, file: str, package, read_clip) -> None:
    from rdbench.codecs.registry import create

    rate = MODES[key].rate
    reference = batch(read_clip(file, rate=rate)[0], rate=rate)
    metric = VisqolTorch(key)
    prepared = metric.prepare(reference)
    for name, kbps in (("opus", 12), ("mp3", 32)):
        codec = create(name, points=[kbps])
        encoded = codec.encode(reference, codec.points[0])
        coded = codec.decode(codec.decoder_input(encoded, codec.variants[0], [0]))
        (ours,) = metric.score(prepared, reconstruction=coded)
        theirs = package(key, reference.samples[0, 0].numpy(), coded.samples[0, 0].numpy())
        assert ours.value == pytest.approx(theirs, abs=2e-3 if key == "visqol_audio" else 5e-3)


def test_the_exponential_mapping_is_a_variant(package) -> None:
    clean = read("speech_german.flac", 16000)
    worse = noise(clean, 16000)
    metric = VisqolTorch("visqol_speech_exponential")
    (ours,) = scores(metric, batch(clean, rate=16000), batch(worse, rate=16000))
    theirs = package("visqol_speech", clean, worse, lattice=False)
    assert ours.value == pytest.approx(theirs, abs=1e-6)
    assert "exponential" in metric.version


@pytest.mark.parametrize("key", list(MODES))
def test_a_batch_scores_as_its_clips_do_alone(key: str) -> None:
    rate = MODES[key].rate
    clips = [
        read("speech_german.flac", rate, 2.0),
        read("speech_french.flac", rate, 1.5),
        read("speech_english_us.flac", rate, 2.0),
        read("speech_german.flac", rate, 0.5),
    ]
    worse = [late(clips[0], rate), drifting(clips[1], rate), noise(clips[2], rate), clips[3]]
    metric = VisqolTorch(key)
    together = scores(metric, batch(*clips, rate=rate), batch(*worse, rate=rate, fill=0.5))
    assert together[3].status is Status.UNDEFINED
    assert "shorter than" in together[3].reason
    for clean, bad, score in zip(clips[:3], worse[:3], together[:3], strict=True):
        (alone,) = scores(metric, batch(clean, rate=rate), batch(bad, rate=rate))
        assert score.value == pytest.approx(alone.value, abs=1e-6)


def test_threads_share_the_clips_and_change_no_score() -> None:
    rate = 16000
    names = ("speech_german.flac", "speech_french.flac", "speech_english_us.flac")
    clips = [read(name, rate, 1.5) for name in names]
    reference = batch(*clips, rate=rate)
    worse = batch(*(noise(clip, rate) for clip in clips), rate=rate)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(scores(VisqolTorch("visqol_speech"), reference, worse))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for alone, together in zip(*found, strict=True):
        assert alone.value == pytest.approx(together.value, abs=1e-6)


def test_it_scores_one_channel_and_several_are_refused() -> None:
    rate = 48000
    stereo = np.stack([read("music_pad.flac", rate, 1.0, channel) for channel in range(2)])
    with pytest.raises(ValueError, match="one channel at 48000 Hz, not on 2 at 48000 Hz; average"):
        VisqolTorch("visqol_audio").prepare(batch(stereo, rate=rate))


@pytest.mark.parametrize("key", list(MODES))
def test_silence_has_no_score(key: str) -> None:
    rate = MODES[key].rate
    speech = read("speech_german.flac", rate, 1.5)
    silence = np.zeros_like(speech)
    found = scores(
        VisqolTorch(key),
        batch(silence, speech, rate=rate),
        batch(speech, silence, rate=rate),
    )
    assert [score.status for score in found] == [Status.UNDEFINED] * 2
    assert [score.reason for score in found] == [
        "the reference is silent",
        "the reconstruction is silent",
    ]


def test_another_rate_or_another_batch_is_refused() -> None:
    metric = VisqolTorch("visqol_audio")
    with pytest.raises(ValueError, match="48000"):
        metric.prepare(batch(read("speech_german.flac", 16000), rate=16000))
    prepared = metric.prepare(batch(read("speech_german.flac", 48000, 1.0), rate=48000))
    other = batch(read("speech_german.flac", 48000, 1.1), rate=48000)
    with pytest.raises(ValueError, match="differ"):
        metric.score(prepared, reconstruction=other)


@pytest.mark.cuda
@pytest.mark.parametrize("key", list(MODES))
def test_a_gpu_gives_the_same(key: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rate = MODES[key].rate
    clips = [read("speech_german.flac", rate), read("speech_french.flac", rate)]
    metric = VisqolTorch(key)
    reference = batch(*clips, rate=rate)
    for degradation in (identity, noise, late, dropouts):
        worse = batch(*(degradation(clip, rate) for clip in clips), rate=rate)
        here = scores(metric, reference, worse)
        there = scores(metric, reference.to("cuda"), worse.to("cuda"))
        for one, other in zip(here, there, strict=True):
            assert one.value == pytest.approx(other.value, abs=1e-4)


# Spectrograms


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_spectrograms_are_those_of_the_recursive_filters(mode: Mode) -> None:
    from visqol.analysis_window import AnalysisWindow
    from visqol.audio_utils import AudioSignal
    from visqol.gammatone import GammatoneSpectrogramBuilder

    signal = read("sound_bells.flac", mode.rate, 1.3).astype(float)
    signal[len(signal) // 2 : len(signal) // 2 + mode.rate // 5] = 0.0
    builder = GammatoneSpectrogramBuilder(mode.bands, mode.lowest, speech_mode=mode is SPEECH)
    theirs = builder.build(AudioSignal(signal, mode.rate), AnalysisWindow(mode.rate))
    frames = mode.frames(len(signal))
    ours = Filterbank.build(mode, CPU).spectrogram(torch.from_numpy(signal)[None], frames)[0]
    assert theirs.data.shape == tuple(ours.shape)
    assert (theirs.data == 0.0).any()
    np.testing.assert_allclose(ours.numpy(), theirs.data, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(centre_frequencies(mode), theirs.center_freq_bands, rtol=1e-9)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_energy_after_the_frame_is_not_counted(mode: Mode) -> None:
    """A click at the frame's end rings on after it; closed form: h[0]² times the click's."""
    bank = Filterbank.build(mode, CPU)
    frame = torch.zeros(1, mode.window, dtype=torch.float64)
    frame[0, -2] = 1.0  # the window's last sample is zero
    energy = bank.rms(frame)[0].square() * mode.window
    impulse = torch.zeros(mode.window, dtype=torch.float64)
    impulse[0] = 1.0
    whole = _recursive(impulse.numpy(), mode)
    expected = (whole[:, :2] ** 2).sum(axis=1) * float(bank.window[-2]) ** 2
    np.testing.assert_allclose(energy.numpy(), expected, rtol=1e-6, atol=1e-20)


def _recursive(signal: Signal, mode: Mode) -> np.ndarray:
    """The filterbank as four biquads in a row, by SciPy."""
    from scipy.signal import freqz, lfilter

    rows = []
    for centre in centre_frequencies(mode):
        radius = math.exp(-2 * math.pi * 1.019 * (centre / 9.26449 + 24.7) / mode.rate)
        theta = 2 * math.pi * centre / mode.rate
        poles = [1.0, -2 * radius * math.cos(theta), radius**2]
        out, gain = signal, 1.0
        for spread in (3 + 2**1.5, 3 - 2**1.5):
            for sign in (1, -1):
                zero = math.cos(theta) + sign * math.sqrt(spread) * math.sin(theta)
                out = lfilter([1.0, -radius * zero], poles, out)
                gain *= abs(freqz([1.0, -radius * zero], poles, [theta])[1][0])
        rows.append(out / gain)
    return np.stack(rows)


# Alignment


@pytest.mark.parametrize("length", [1000, 1001])
def test_envelopes_are_those_of_the_analytic_signal(length: int) -> None:
    from scipy.signal import hilbert

    signal = np.random.default_rng(3).standard_normal((2, length)) + 0.4
    mean = signal.mean(axis=1, keepdims=True)
    expected = np.abs(hilbert(signal - mean)) + mean
    ours = alignment.envelope(torch.from_numpy(signal))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(2, 60),
    shift=st.integers(-70, 70),
    seed=st.integers(0, 1000),
    quantized=st.booleans(),
)
def test_lags_are_the_packages(length: int, shift: int, seed: int, quantized: bool) -> None:
    from visqol.signal_utils import find_best_lag

    rng = np.random.default_rng(seed)
    first = np.abs(rng.standard_normal(length))
    second = np.roll(first, shift) + 0.1 * rng.standard_normal(length)
    if quantized:
        first, second = np.zeros(length), np.round(second)
    points = alignment.correlation_length(length)
    spectra = [alignment.spectrum(torch.from_numpy(item)[None], points) for item in (first, second)]
    assert int(alignment.best_lags(*spectra, points, length)) == find_best_lag(first, second)


@settings(max_examples=100, deadline=None)
@given(st.integers(28000, 28801), st.integers(28000, 28801), st.integers(-14000, 14000))
def test_overlaps_are_the_packages(first: int, second: int, lag: int) -> None:
    """Samples carry their number, so that one sees which of them the overlap holds."""
    from visqol.alignment import align_and_truncate
    from visqol.audio_utils import AudioSignal

    ours = alignment.overlap(first, second, lag, 48000)
    numbered = np.arange(1.0, first + 1), np.arange(1.0, second + 1)
    with (
        mock.patch("visqol.alignment.upper_envelope"),
        mock.patch("visqol.alignment.find_best_lag", return_value=lag),
    ):
        reference, reconstruction, _ = align_and_truncate(
            *(AudioSignal(item, 48000) for item in numbered)
        )
    assert ours.samples == len(reference.data) == len(reconstruction.data)
    assert reference.data[0] == ours.reference + 1
    padded = np.concatenate([np.zeros(15000), numbered[1]])
    begin = 15000 + ours.reconstruction
    np.testing.assert_array_equal(padded[begin : begin + ours.samples], reconstruction.data)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_slices_are_the_packages(mode: Mode) -> None:
    from visqol.audio_utils import AudioSignal
    from visqol.patch_selector import slice_signal

    signal = np.arange(1.0, 3.21 * mode.rate)
    for frame in range(mode.frames(len(signal))):
        begin = frame * mode.frame_seconds
        theirs = slice_signal(AudioSignal(signal, mode.rate), begin, begin + mode.patch_seconds)
        ours = Slice.at(0, frame, len(signal), mode)
        assert ours.samples == len(theirs.data)
        wave = np.concatenate([np.zeros(ours.zeros), signal[ours.start : ours.stop]])
        np.testing.assert_array_equal(wave, theirs.data)


# Patches


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), seconds=st.floats(0.66, 6.0), mode=st.sampled_from([0, 1]))
def test_patches_of_the_reference_are_the_packages(seed: int, seconds: float, mode: int) -> None:
    from visqol.analysis_window import AnalysisWindow
    from visqol.audio_utils import AudioSignal
    from visqol.patch_creator import ImagePatchCreator, VadPatchCreator

    chosen = (AUDIO, SPEECH)[mode]
    rng = np.random.default_rng(seed)
    length = int(seconds * chosen.rate)
    loudness = np.repeat(rng.choice([0.0, 0.02, 0.3], size=length // 2000 + 1), 2000)[:length]
    signal = rng.standard_normal(length) * loudness
    frames = chosen.frames(length)
    creator = (ImagePatchCreator, VadPatchCreator)[mode](chosen.patch)
    ours = patches.reference_patches(signal, chosen).tolist()
    if length < chosen.shortest:
        assert ours == []
        return
    arguments = np.zeros((1, frames)), AudioSignal(signal, chosen.rate), AnalysisWindow(chosen.rate)
    assert ours == creator.create_ref_patch_indices(*arguments)


# Similarity


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_similarity_is_the_packages(mode: Mode) -> None:
    from visqol.nsim import measure_patch_similarity

    rng = np.random.default_rng(5)
    shape = (3, mode.bands, mode.patch)
    first = np.maximum(20 * rng.standard_normal(shape), 0.0)
    second = np.maximum(first + 5 * rng.standard_normal(shape), 0.0)
    second[2] = 0.0
    counts = [mode.patch, mode.patch - 3, mode.patch]
    ours = nsim.compare(torch.from_numpy(first), torch.from_numpy(second), torch.tensor(counts))
    for index, count in enumerate(counts):
        theirs = measure_patch_similarity(first[index, :, :count], second[index, :, :count])
        for mine, other in (
            (ours.bands, theirs.freq_band_means),
            (ours.spread, theirs.freq_band_stddevs),
            (ours.level, theirs.freq_band_deg_energy),
        ):
            np.testing.assert_allclose(mine[index], other, rtol=0, atol=1e-9)


def test_equal_patches_score_exactly_one() -> None:
    rng = np.random.default_rng(6)
    patch = torch.from_numpy(np.maximum(20 * rng.standard_normal((2, 21, 20)), 0.0))
    patch[1] = 0.0
    similarity = nsim.compare(patch, patch.clone(), torch.tensor([20, 17]))
    assert (similarity.bands == 1.0).all()
    assert (similarity.spread == 0.0).all()


def test_sliding_similarity_is_that_of_every_pair() -> None:
    rng = np.random.default_rng(8)
    spectrogram = torch.from_numpy(np.maximum(20 * rng.standard_normal((21, 150)), 0.0))
    spectrogram[:, 60:90] = 0.0
    starts = torch.tensor([3, 40, 75])
    wanted = patches.cut(spectrogram, starts, 20) + 1.0
    ours = nsim.sliding(wanted, spectrogram).numpy()
    offsets = torch.arange(131)
    for index in range(3):
        pairs = wanted[index].expand(131, -1, -1)
        each = nsim.compare(
            pairs, patches.cut(spectrogram, offsets, 20), torch.full((131,), 20)
        ).bands.mean(axis=1)
        np.testing.assert_allclose(ours[index], each, rtol=0, atol=1e-9)


# The best sequence


@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    extra=st.integers(0, 40),
    seed=st.integers(0, 10_000),
)
def test_matching_is_the_recursion_with_its_ties(gaps, extra: int, seed: int) -> None:
    patch = 2
    starts = np.cumsum(gaps)
    offsets = int(starts[-1]) + extra
    similarity = np.random.default_rng(seed).integers(-2, 4, (len(starts), offsets)).astype(float)
    path, lost = matching.match(similarity, starts, patch)
    expected, expected_lost = _by_recursion(similarity, starts, patch)
    assert path.tolist() == expected
    assert lost.tolist() == expected_lost


def _by_recursion(similarity, starts, patch) -> tuple[list[int], list[bool]]:
    """The definition, offset by offset, scanning backwards for the best predecessor."""
    patches_, offsets = similarity.shape
    reach = matching.SEARCH * patch
    total = np.zeros((patches_, offsets))
    before = np.full((patches_, offsets), -1)
    for p in range(patches_):
        for s in range(max(0, starts[p] - reach), min(offsets - 1, starts[p] + reach) + 1):
            total[p, s] = similarity[p, s]
            if p == 0:
                continue
            best = -math.inf
            for t in range(s - 1, max(0, starts[p - 1] - reach) - 1, -1):
                if total[p - 1, t] > best:
                    best, before[p, s] = total[p - 1, t], t
            total[p, s] += best
            if total[p - 1, s] > total[p, s]:
                total[p, s], before[p, s] = total[p - 1, s], s
    window = range(max(0, starts[-1] - reach), min(offsets - 1, starts[-1] + reach) + 1)
    offset = max(window, key=lambda s: (total[-1, s], -s))
    path, lost = [], []
    for p in range(patches_ - 1, -1, -1):
        path.append(int(offset))
        lost.append(bool(before[p, offset] == offset))
        offset = before[p, offset]
    return path[::-1], lost[::-1]


# Mappings


def test_support_vectors_are_libsvms() -> None:
    from visqol.quality_mapper import SvrSimilarityToQualityMapper

    path = mapping.model_file(mapping.SVR_FILE, "visqol_audio")
    ours, theirs = mapping.SupportVectors.load(path), SvrSimilarityToQualityMapper(str(path))
    theirs.init()
    rng = np.random.default_rng(2)
    for scale in (0.0, 0.05, 0.3, 1.0):
        similarity = 1.0 - scale * rng.random(32)
        features = mapping.Features(similarity, similarity, similarity, similarity)
        assert ours(features) == pytest.approx(theirs.predict_quality(similarity), abs=1e-9)


def test_dissimilar_signals_score_one() -> None:
    zeros = np.zeros(21)
    features = mapping.Features(zeros + 0.1, zeros, zeros, zeros)
    assert mapping.predict(lambda _: 3.0, features) == 1.0
    assert mapping.predict(lambda _: 3.0, mapping.Features(zeros + 0.2, *[zeros] * 3)) == 3.0
