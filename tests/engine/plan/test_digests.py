"""Digests, seeds and hashes belong to content."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rdbench.engine.plan.digests import clip_seed, digest
from rdbench.identity import file_sha256

PARTS = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4)


@given(PARTS, PARTS)
def test_equal_parts_and_only_they_have_equal_digests(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert (digest(one) == digest(other)) == (one == other)


@given(st.integers(0, 2**62), st.text(max_size=20))
def test_clip_seeds_fit_a_generator_and_belong_to_clip_and_seed(seed: int, clip: str) -> None:
    assert 0 <= clip_seed(seed, clip) < 2**63
    assert clip_seed(seed, clip) == clip_seed(seed, clip)
    assert clip_seed(seed, clip) != clip_seed(seed + 1, clip)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a.wav", tmp_path / "b.wav"
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    assert file_sha256(first) == file_sha256(second)
    second.write_bytes(b"other")
    assert file_sha256(first) != file_sha256(second)
