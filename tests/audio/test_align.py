"""A delay that was put in is the delay that is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from delayed import batch_of as batch_at
from delayed import pair
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt

from rdbench.audio.align import residual_delay
from rdbench.audio.corpus import embedded_corpus, manifest_corpus
from rdbench.audio.load import ExcerptProtocol, load_excerpt
from rdbench.audio.shift import advance, spans
from rdbench.types import AudioBatch

RATE = 16000


def batch_of(*clips: torch.Tensor) -> AudioBatch:
    return batch_at(*clips, rate=RATE)


def shifted(samples: torch.Tensor, delay: int) -> torch.Tensor:
    """`samples` (channels, time), `delay` samples later, as long as before."""
    moved = torch.zeros_like(samples)
    if delay >= 0:
        moved[..., delay:] = samples[..., : samples.shape[-1] - delay]
    else:
        moved[..., :delay] = samples[..., -delay:]
    return moved


def noise(samples: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(channels, samples, generator=generator)


@pytest.fixture(scope="module")
def embedded() -> AudioBatch:
    protocol = ExcerptProtocol(RATE, "mono", 3.0)
    return batch_of(*(load_excerpt(c, protocol).samples for c in embedded_corpus().clips))


@settings(max_examples=40)
@given(st.integers(-1600, 1600), st.integers(1, 3))
def test_known_shifts_are_found(delay: int, channels: int) -> None:
    clip = noise(8000, channels)
    late = batch_of(shifted(clip, delay))
    assert residual_delay(reference=batch_of(clip), reconstruction=late) == [delay]


@settings(max_examples=40)
@given(
    delay=st.floats(-60, 60),
    rate=st.sampled_from([8000, 16000, 44100]),
    seed=st.integers(0, 99),
    gain=st.sampled_from([1.0, 0.1, -0.7]),
    top=st.sampled_from([1.0, 0.4, 0.1]),
)
def test_any_part_of_a_sample_is_found(
    delay: float, rate: int, seed: int, gain: float, top: float
) -> None:
    """Of noise in a wide and in a narrow band, softer, and turned over."""
    clip, late = pair(6000, delay, seed=seed, channels=1 + seed % 2, top=top)
    sides = batch_at(clip, rate=rate), batch_at(gain * late, rate=rate)
    (found,) = residual_delay(reference=sides[0], reconstruction=sides[1])
    assert found == pytest.approx(delay, abs=0.01)


def test_every_clip_of_a_batch_has_its_own_part_of_a_sample() -> None:
    delays = [0.0, 0.5, -0.56, 3.37, -12.75, 0.01, 0.49]
    sizes = [4000, 9000, 700, 6000, 5000, 4000, 4000]
    pairs = [pair(n, d, seed=i) for i, (n, d) in enumerate(zip(sizes, delays, strict=True))]
    pairs += [(pairs[0][0], torch.zeros(1, 4000)), (pairs[0][0], noise(4000, seed=9))]
    reference = batch_at(*(one for one, _ in pairs), rate=RATE, fill=9.0)
    late = batch_at(*(other for _, other in pairs), rate=RATE, fill=float("nan"))
    found = residual_delay(reference=reference, reconstruction=late)
    assert found[:7] == pytest.approx(delays, abs=0.006)
    assert found[7:] == [None, None]
    alone = [
        residual_delay(reference=batch_of(one), reconstruction=batch_of(other))[0]
        for one, other in pairs[:7]
    ]
    assert found[:7] == alone


def test_what_leaves_the_clip_does_not_draw_the_delay_to_zero() -> None:
    """Bass noise: the peak of the plain correlation lies 0.08 samples off, of 0.5."""
    clip, late = pair(48000, 0.5, top=0.01)
    found = residual_delay(reference=batch_of(clip), reconstruction=batch_of(late))
    assert found == [pytest.approx(0.5, abs=0.01)]


def test_noise_of_coding_moves_the_delay_little() -> None:
    clip, late = pair(48000, -0.56, top=0.5)
    coded = late + 10**-0.5 * float(late.std()) * noise(48000, seed=3) / 0.1
    found = residual_delay(reference=batch_of(clip), reconstruction=batch_of(coded))
    assert found == [pytest.approx(-0.56, abs=0.01)]


def test_a_clip_of_which_too_little_is_left_has_the_delay_of_its_correlation() -> None:
    clip, late = pair(100, 0.4, top=0.5)
    found = residual_delay(reference=batch_of(clip), reconstruction=batch_of(late))
    assert found == [pytest.approx(0.4, abs=0.05)]


@pytest.mark.parametrize("delay", [-800, -1, 0, 1, 312, 1590])
def test_real_clips_coded_badly_are_placed_to_the_sample(embedded: AudioBatch, delay: int) -> None:
    """Speech, music and sounds through a zero-phase 4 kHz low-pass with noise 10 dB below."""
    spectrum = torch.fft.rfft(embedded.samples)
    bins = torch.fft.rfftfreq(embedded.samples.shape[-1], 1 / RATE)
    filtered = torch.fft.irfft(spectrum * (bins < 4000), embedded.samples.shape[-1])
    level = filtered.square().mean(-1, keepdim=True).sqrt() * 10**-0.5
    hiss = noise(filtered.shape[-1], embedded.clips, seed=3)[:, None] / 0.1
    coded = AudioBatch(shifted(filtered + level * hiss, delay), embedded.lengths, RATE)
    found = residual_delay(reference=embedded, reconstruction=coded)
    assert found == pytest.approx([delay] * embedded.clips, abs=0.1)


def test_shared_clips_are_placed_to_the_sample(shared_data: object) -> None:
    corpus = manifest_corpus(f"{shared_data}/clips/manifest.csv").sample(24)
    protocol = ExcerptProtocol(RATE, "mono", 2.0)
    batch = batch_of(*(load_excerpt(clip, protocol).samples for clip in corpus.clips))
    late = AudioBatch(shifted(batch.samples, 37), batch.lengths, RATE)
    found = residual_delay(reference=batch, reconstruction=late)
    assert found == [37] * batch.clips


def test_a_filter_of_known_delay_shows_its_delay() -> None:
    clip = noise(160000)
    sos = butter(2, 3000, fs=RATE, output="sos")
    causal = torch.from_numpy(sosfilt(sos, clip.numpy().astype(np.float64))).float()
    found = residual_delay(reference=batch_of(clip), reconstruction=batch_of(causal))
    # White input: the correlation is the response, here read between samples.
    impulse, lags = sosfilt(sos, np.eye(1, 100)[0]), np.arange(0, 4, 0.001)
    response = np.sinc(lags[:, None] - np.arange(100)) @ impulse
    assert found == [pytest.approx(lags[response.argmax()], abs=0.01)]


def test_polarity_does_not_look_like_delay(embedded: AudioBatch) -> None:
    for delay in (0, 25):
        turned = AudioBatch(-shifted(embedded.samples, delay), embedded.lengths, RATE)
        found = residual_delay(reference=embedded, reconstruction=turned)
        assert found == [delay] * embedded.clips


def test_a_steady_tone_is_not_taken_for_a_tone_periods_away() -> None:
    time = torch.arange(RATE) / RATE
    tone = batch_of(0.5 * torch.sin(2 * torch.pi * 440 * time)[None])
    assert residual_delay(reference=tone, reconstruction=tone) == [0]


@pytest.mark.parametrize(
    ("rate", "tones"),
    [(8000, (50, 3650, 3990)), (44100, (50, 1000, 21000, 22000)), (48000, (23000,)),
     (16000, (3662, 4210, 4895, 5306, 7700, 7900))],
)  # fmt: skip
def test_a_tone_on_time_is_on_time(rate: int, tones: tuple[int, ...]) -> None:
    time = torch.arange(3 * rate) / rate
    low = 0.01 * torch.sin(2 * torch.pi * 440 * time)
    clips = [0.1 * torch.sin(2 * torch.pi * tone * time)[None] for tone in tones]
    batch = batch_at(*clips, *(clip + low for clip in clips), rate=rate)
    assert residual_delay(reference=batch, reconstruction=batch) == [0] * batch.clips


@pytest.mark.parametrize("band", [(0.9, 0.99), (0.95, 0.99), (0.75, 0.751), (0.5, 0.52)])
@pytest.mark.parametrize("delay", [0.0, 0.4, -0.56])
def test_the_period_of_a_narrow_band_is_the_right_one(
    band: tuple[float, float], delay: float
) -> None:
    clip, late = pair(48000, delay, bottom=band[0], top=band[1])
    reference, reconstruction = batch_of(clip), batch_of(late)
    (found,) = residual_delay(reference=reference, reconstruction=reconstruction)
    assert found == pytest.approx(delay, abs=0.01)
    assert found is not None
    moved = advance(reconstruction, [found])
    ((start, stop),) = spans(reconstruction.lengths, [found])
    aligned = fit(clip[0, start:stop], moved.samples[0, 0, start:stop])
    assert aligned >= fit(clip[0], late[0])


def fit(reference: torch.Tensor, reconstruction: torch.Tensor) -> float:
    """The squared coefficient, on which SI-SDR hangs alone; 1 within float32 is 1."""
    both = torch.corrcoef(torch.stack([reference, reconstruction]).double())
    return round(float(both[0, 1].square()), 5)


@pytest.mark.parametrize("delay", [1600.4, 1600.6, 1601, -1600.4, -1603])
def test_a_delay_beyond_the_search_is_none(delay: float) -> None:
    clip, late = pair(8000, delay)
    found = residual_delay(reference=batch_of(clip), reconstruction=batch_of(late))
    assert found == [None]


@pytest.mark.parametrize("samples", [3, 20, 50, 200, 1000])
def test_unrelated_noise_has_no_delay_however_short(samples: int) -> None:
    """Of a thousand pairs one may have one; by a coefficient of 0.1 alone all of 100 have."""
    reference = batch_of(*(noise(samples, seed=2 * i) for i in range(100)))
    other = batch_of(*(noise(samples, seed=2 * i + 1) for i in range(100)))
    found = residual_delay(reference=reference, reconstruction=other)
    assert sum(delay is not None for delay in found) <= 1


def test_silence_and_unrelated_noise_have_no_delay() -> None:
    clip, silence = noise(16000), torch.zeros(1, 16000)
    offset = torch.full((1, 16000), 0.3)
    reference = batch_of(clip, silence, clip, offset, clip)
    other = batch_of(silence, clip, noise(16000, seed=1), offset, shifted(clip, 40))
    found = residual_delay(reference=reference, reconstruction=other)
    assert found == [None, None, None, None, 40]


def test_padding_and_neighbours_do_not_matter() -> None:
    clips = [noise(9000), noise(4000, seed=1), noise(700, seed=2), noise(50, seed=3)]
    reference = batch_of(*clips)
    late = batch_of(*(shifted(clip, d) for clip, d in zip(clips, (100, -60, 30, 5), strict=True)))
    for batch in (reference, late):
        for index, length in enumerate(batch.lengths.tolist()):
            batch.samples[index, :, length:] = 9.0
    found = residual_delay(reference=reference, reconstruction=late)
    assert found == pytest.approx([100, -60, 30, 5], abs=0.011)


def test_the_search_ends_where_it_is_told() -> None:
    clip = noise(8000)
    late = batch_of(shifted(clip, 300))
    near = residual_delay(reference=batch_of(clip), reconstruction=late, max_seconds=0.01)
    assert near[0] is None or abs(near[0]) <= 160
    far = residual_delay(reference=batch_of(clip), reconstruction=late, max_seconds=0.02)
    assert far == [300]


def test_batches_that_do_not_match_are_refused() -> None:
    one, two = batch_of(noise(800)), batch_of(noise(800, 2))
    with pytest.raises(ValueError, match="channels"):
        residual_delay(reference=one, reconstruction=two)
    other = AudioBatch(one.samples, one.lengths, 8000)
    with pytest.raises(ValueError, match="sample_rate"):
        residual_delay(reference=one, reconstruction=other)
