"""A clip that was moved by any part of a sample is the clip that it was."""

from __future__ import annotations

import pytest
import torch
from delayed import batch_of, pair
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.audio.shift import advance, cut, fast_size, leaves_half, spans

RATE = 16000


@settings(max_examples=30)
@given(
    delay=st.floats(-200, 200),
    seed=st.integers(0, 99),
    channels=st.integers(1, 2),
    level=st.sampled_from([0.0, 0.5]),
)
def test_what_is_known_after_a_move_is_what_was_delayed(
    delay: float, seed: int, channels: int, level: float
) -> None:
    """Noise in nine tenths of the band, also on a level that would ring."""
    clip, late = pair(8000, delay, seed=seed, channels=channels, top=0.9)
    moved = advance(batch_of(late + level, rate=RATE), [delay])
    assert moved.samples.shape == (1, channels, 8000)
    (part,) = spans(moved.lengths, [delay])
    assert part[1] - part[0] >= 8000 - abs(delay) - 2 * 32 - 1
    back = cut(moved, [part]).samples[0]
    error = back - level - clip[:, part[0] : part[1]]
    assert float(error.square().mean()) < 1e-5 * float(clip.square().mean())


@given(delay=st.integers(-9000, 9000))
def test_whole_samples_are_moved_and_not_computed(delay: int) -> None:
    clip = torch.arange(1.0, 8001.0)[None]
    moved = advance(batch_of(clip, rate=RATE), [delay])
    ((start, stop),) = spans(moved.lengths, [delay])
    assert stop - start == max(0, 8000 - abs(delay))
    assert torch.equal(moved.samples[0, :, start:stop], clip[:, start + delay : stop + delay])
    assert int((moved.samples != 0).sum()) == stop - start


def test_every_clip_of_a_batch_is_what_it_is_alone() -> None:
    delays = [0.0, 0.5, -0.56, 3.37, 5.0, -2000.25]
    clips = [pair(n, 0.0, seed=n)[0] for n in (3000, 5000, 64, 700, 4000, 1000)]
    together = advance(batch_of(*clips, rate=RATE, fill=float("nan")), delays)
    known = spans(together.lengths, delays)
    parts = cut(together, known)
    assert known[2] == known[5] == (0, 0)
    for index, (clip, delay) in enumerate(zip(clips, delays, strict=True)):
        alone = advance(batch_of(clip, rate=RATE), [delay])
        length = clip.shape[-1]
        torch.testing.assert_close(together.samples[index, :, :length], alone.samples[0])
        assert not together.samples[index, :, length:].any()
        own = cut(alone, [known[index]]).samples[0]
        torch.testing.assert_close(parts.samples[index, :, : own.shape[-1]], own)
    assert parts.lengths.tolist() == [stop - start for start, stop in known]


def test_what_leaves_less_than_half_is_told() -> None:
    lengths = torch.tensor([100, 100, 100, 100, 129])
    assert leaves_half(lengths, [50.0, -50.0, 51.0, 0.1, 0.1]) == [True, True, False, False, True]


@pytest.mark.parametrize("needed", [1, 2, 3, 100, 49601, 136711, 2**17 + 1])
def test_sizes_are_the_next_even_ones_without_large_factors(needed: int) -> None:
    def quick(size: int) -> bool:
        for factor in (2, 3, 5):
            while size % factor == 0:
                size //= factor
        return size == 1

    size = fast_size(needed)
    assert [n for n in range(needed, size + 1) if n % 2 == 0 and quick(n)] == [size]
