"""FLAC of unknown length is read whole, and chained Ogg is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.audio import streams
from rdbench.audio.clip import Clip
from rdbench.audio.load import ExcerptProtocol, load_excerpt, read
from rdbench.identity import hash_file
from rdbench.types import AudioError

RATE = 16000
ID3 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)


def noise(count: int, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(count).standard_normal((count, channels))


def by_libsndfile(samples: np.ndarray, kind: str = "FLAC", subtype: str | None = None) -> bytes:
    made = io.BytesIO()
    soundfile.write(made, samples, RATE, format=kind, subtype=subtype)
    return made.getvalue()


def by_ffmpeg(samples: np.ndarray) -> bytes:
    made = io.BytesIO()
    with av.open(made, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        values = (samples.T * 2**15).round().astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
        frame.sample_rate = RATE
        for part in (frame, None):
            container.mux(stream.encode(part))
    return made.getvalue()


def unknown(content: bytes) -> bytes:
    """As an encoder that cannot go back to its header leaves it."""
    assert content[:4] == b"fLaC"
    return content[:21] + bytes([content[21] & 0xF0, 0, 0, 0, 0]) + content[26:]


@pytest.mark.parametrize("make", [by_libsndfile, by_ffmpeg])
@pytest.mark.parametrize("count", [1000, 4096, 4096 * 3, 50_001, 16000 * 40])
def test_a_flac_of_unknown_length_is_read_whole(
    tmp_path: Path, make: Callable[[Any], bytes], count: int
) -> None:
    content = make(noise(count))
    known, path = tmp_path / "known.flac", tmp_path / "unknown.flac"
    known.write_bytes(content)
    path.write_bytes(unknown(content))
    expected, _ = read(known)
    assert expected.shape[1] == count
    found, rate = read(path)
    assert rate == RATE
    assert found.equal(expected)
    protocol = ExcerptProtocol(RATE, "native", 0.05)
    one, other = (
        load_excerpt(Clip("x", p, "a", "g", start=count / RATE / 3), protocol, hash_file(p))
        for p in (known, path)
    )
    assert one.samples.equal(other.samples)


@pytest.mark.parametrize(
    ("before", "behind"), [(b"", b"TAG" + bytes(125)), (ID3, b""), (ID3, b"TAG" + bytes(125))]
)
def test_tags_around_it_do_not_count(tmp_path: Path, before: bytes, behind: bytes) -> None:
    content = by_libsndfile(noise(20_000, 2))
    path = tmp_path / "x.flac"
    path.write_bytes(before + unknown(content) + behind)
    (tmp_path / "known.flac").write_bytes(content)
    assert read(path)[0].equal(read(tmp_path / "known.flac")[0])


@pytest.mark.parametrize("change", ["cut", "header alone", "other last byte"])
def test_an_end_that_is_no_frame_is_a_sentence(tmp_path: Path, change: str) -> None:
    content = unknown(by_libsndfile(noise(20_000)))
    changed = {"cut": content[:-100], "header alone": content[:60]}
    path = tmp_path / "x.flac"
    path.write_bytes(changed.get(change, content[:-1] + bytes([content[-1] ^ 1])))
    with pytest.raises(AudioError, match="whose end is no whole frame; encode it again"):
        read(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chained_ogg_is_refused(tmp_path: Path, subtype: str) -> None:
    first, second = (by_libsndfile(noise(n), "OGG", subtype) for n in (20_000, 30_000))
    path = tmp_path / "x.ogg"
    for content in (first + second, first + first, first + second + first):
        path.write_bytes(content)
        with pytest.raises(AudioError, match="several Ogg streams one after another"):
            read(path)
        with pytest.raises(AudioError, match="several Ogg streams one after another"):
            load_excerpt(
                Clip("x", path, "a", "g"), ExcerptProtocol(RATE, "mono", 0.5), hash_file(path)
            )
    path.write_bytes(first)
    assert read(path)[0].shape[1] == 20_000


def test_a_stream_that_begins_at_the_edge_of_a_block_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = by_libsndfile(noise(2000), "OGG", "VORBIS")
    path = tmp_path / "x.ogg"
    path.write_bytes(first + first)
    begin = streams._behind_first_pages(io.BytesIO(first))
    for block in range(len(first) - begin - 8, len(first) - begin + 8):
        monkeypatch.setattr(streams, "_BLOCK", block)
        with pytest.raises(AudioError, match="several Ogg streams"):
            read(path)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**36 - 1))
def test_numbers_of_frames_are_read_as_they_are_coded(number: int) -> None:
    coded = bytes([number]) if number < 0x80 else b""
    for more in range(2, 8):
        if not coded and number < 1 << (5 * more + 1):
            low = [0x80 | number >> 6 * place & 0x3F for place in range(more - 2, -1, -1)]
            coded = bytes([0xFF & ~(0xFF >> more) | number >> 6 * (more - 1), *low])
    assert streams._number(b"\xff" + coded + b"\x00", 1) == (number, 1 + len(coded))
    if len(coded) > 1:
        assert streams._number(coded[:-1], 0)[0] is None
