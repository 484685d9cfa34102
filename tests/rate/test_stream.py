"""Framed streams: what was written comes back, and what was altered is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbench.rate.stream import Stream, StreamError

WORDS = st.lists(st.integers(0, 2**32 - 1), max_size=40)


def stream(words: list[int]) -> Stream:
    return Stream({"model": "x", "frames": [3]}, np.array(words, np.uint32))


@given(WORDS)
def test_a_frame_comes_back_whole(words: list[int]) -> None:
    back = Stream.from_bytes(stream(words).to_bytes())
    assert back.header == {"model": "x", "frames": [3]}
    assert back.words.tolist() == words


def test_only_the_words_are_counted() -> None:
    written = stream([1, 2, 3])
    assert written.bits == 96
    assert 8 * len(written.to_bytes()) > 96


@given(WORDS, st.data())
def test_a_flipped_bit_is_refused(words: list[int], data: st.DataObject) -> None:
    framed = bytearray(stream(words).to_bytes())
    bit = data.draw(st.integers(0, 8 * len(framed) - 1))
    framed[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(StreamError, match=r"damaged|not a stream"):
        Stream.from_bytes(bytes(framed))


@given(WORDS, st.data())
def test_a_cut_or_lengthened_stream_is_refused(words: list[int], data: st.DataObject) -> None:
    framed = stream(words).to_bytes()
    with pytest.raises(StreamError):
        Stream.from_bytes(framed[: data.draw(st.integers(0, len(framed) - 1))])
    with pytest.raises(StreamError):
        Stream.from_bytes(framed + data.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StreamError, match="clip 7"):
        Stream.from_bytes(data, name="clip 7")
