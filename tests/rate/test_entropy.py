"""Entropy-coded tokens: exact round trips, lengths near the ideal, and refusals."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.rate.adaptive import CONTEXT, MODELS, ORDER0, AdaptiveModel
from rdbench.rate.entropy import decode_clips, encode_clips, measure_clips
from rdbench.rate.static import StaticTables
from rdbench.rate.stream import Stream, StreamError
from rdbench.rate.usage import codebook_usage
from rdbench.rate.validate import PayloadError, clip_codes
from rdbench.types import CodecError, Tokens, TokenStream

Clip = list[np.ndarray]


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[Clip], list[tuple[int, ...]]]:
    """A few clips of one or two token streams with codebooks of unequal sizes."""
    sizes = draw(
        st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=5).map(tuple),
                 min_size=1, max_size=2)
    )  # fmt: skip
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    power = draw(st.sampled_from([1.0, 4.0]))
    clips = []
    for _ in range(draw(st.integers(1, 3))):
        clip = []
        for stream in sizes:
            frames = draw(st.integers(1, 30))
            rows = [(size * generator.random(frames) ** power).astype(np.int32) for size in stream]
            clip.append(np.stack(rows))
        clips.append(clip)
    return clips, sizes


def same(clips: list[Clip], others: list[Clip]) -> bool:
    return len(clips) == len(others) and all(
        np.array_equal(a, b)
        for clip, other in zip(clips, others, strict=True)
        for a, b in zip(clip, other, strict=True)
    )


def near_ideal(bits: int, ideal: float) -> bool:
    return abs(bits - ideal) <= 0.005 * ideal + 64


@pytest.mark.parametrize("name", MODELS)
@given(corpora())
def test_adaptive_streams_decode_to_the_same_tokens_at_the_ideal_length(
    name: str, corpus: tuple[list[Clip], list[tuple[int, ...]]]
) -> None:
    clips, sizes = corpus
    coded = encode_clips(clips, sizes, name)
    assert same(clips, decode_clips(Stream.from_bytes(coded.stream.to_bytes())))
    assert near_ideal(coded.bits, coded.ideal_bits)


@given(corpora())
def test_static_streams_decode_with_their_own_tables_alone(
    corpus: tuple[list[Clip], list[tuple[int, ...]]],
) -> None:
    clips, sizes = corpus
    tables = StaticTables.fit(clips, sizes)
    coded = encode_clips(clips, sizes, tables)
    assert same(clips, decode_clips(coded.stream, tables))
    assert near_ideal(coded.bits, coded.ideal_bits)
    foreign = StaticTables.fit([*clips, *clips], sizes)
    with pytest.raises(StreamError, match="other static tables"):
        decode_clips(coded.stream, foreign)
    with pytest.raises(StreamError, match="tables"):
        decode_clips(coded.stream)


def test_lengths_are_near_the_ideal_at_the_sizes_of_real_codecs() -> None:
    generator = np.random.default_rng(0)
    for entries, codebooks in ((16, 46), (1024, 8)):
        p = generator.dirichlet(np.full(entries, 0.3))
        clips = [[generator.choice(entries, (codebooks, 300), p=p).astype(np.int32)] for _ in "ab"]
        sizes = [(entries,) * codebooks]
        for model in (*MODELS, StaticTables.fit(clips[:1], sizes)):
            coded = measure_clips(clips[1:], sizes, model)
            assert near_ideal(coded.bits, coded.ideal_bits)


@pytest.mark.parametrize(("entries", "codebooks"), [(16, 46), (1024, 8)])
@pytest.mark.parametrize("name", MODELS)
def test_tokens_without_structure_cost_no_more_than_nominal(
    entries: int, codebooks: int, name: str
) -> None:
    # A thousand entries and few frames: what has not been learnt must not be dear.
    codes = np.random.default_rng(3).integers(0, entries, (codebooks, 400)).astype(np.int32)
    bits = encode_clips([[codes]], [(entries,) * codebooks], name).ideal_bits
    # Two mixtures of three for each codebook, and the floor under four of their weights.
    most = 2 * math.log2(3) * codebooks + 4e-4 * math.log2(math.e) * codes.size
    assert bits <= codes.size * math.log2(entries) + most


def test_contexts_find_what_order_0_cannot() -> None:
    generator = np.random.default_rng(4)
    first = np.cumsum(generator.integers(0, 2, 8000)) % 16  # depends on the frame before
    second = (first + generator.integers(0, 2, 8000)) % 16  # depends on the codebook above
    codes = np.stack([first, second]).astype(np.int32)
    sizes = [(16, 16)]
    order0 = encode_clips([[codes]], sizes, ORDER0).bits / codes.size
    context = encode_clips([[codes]], sizes, CONTEXT).bits / codes.size
    assert order0 > 3.9
    assert 1.0 <= context < 1.1  # one bit per token is the source's entropy


def test_a_corpus_as_one_stream_pays_for_adapting_once() -> None:
    generator = np.random.default_rng(5)
    p = generator.dirichlet(np.full(64, 0.2))
    clips = [[generator.choice(64, (4, 100), p=p).astype(np.int32)] for _ in range(8)]
    sizes = [(64,) * 4]
    together = measure_clips(clips, sizes, ORDER0).bits
    alone = sum(measure_clips([clip], sizes, ORDER0).bits for clip in clips)
    assert together < 0.95 * alone


def test_a_context_of_two_byte_counts_survives_a_long_corpus() -> None:
    codes = np.zeros((1, 150_000), np.int32)
    codes[0, ::1000] = 1
    coded = measure_clips([[codes]], [(2,)], CONTEXT)
    assert coded.bits < 0.02 * codes.size


def test_tables_of_a_nested_codec_are_cut_and_those_of_another_refused() -> None:
    clip = [np.zeros((4, 10), np.int32)]
    tables = StaticTables.fit([clip], [(16,) * 4])
    assert tables.cut([(16, 16)]).sizes == ((16, 16),)
    for sizes in ([(16,) * 5], [(32, 32)], [(16,), (16,)]):
        with pytest.raises(PayloadError, match="fit-entropy"):
            tables.cut(sizes)


def test_merged_tables_are_those_of_all_clips() -> None:
    generator = np.random.default_rng(6)
    clips = [[generator.integers(0, 8, (2, 50)).astype(np.int32)] for _ in range(3)]
    sizes = [(8, 8)]
    merged = StaticTables.merge([StaticTables.fit([clip], sizes) for clip in clips])
    whole = StaticTables.fit(clips, sizes)
    assert merged.digest == whole.digest
    assert StaticTables.from_json(whole.as_json()).digest == whole.digest


def test_an_unknown_model_and_impossible_contexts_are_refused() -> None:
    with pytest.raises(CodecError, match="adaptive order-0"):
        AdaptiveModel((4,), "magic")
    with pytest.raises(CodecError, match="memory"):
        AdaptiveModel((65536,), CONTEXT)


@given(corpora(), st.data())
@settings(max_examples=40)
def test_a_damaged_token_stream_never_decodes(
    corpus: tuple[list[Clip], list[tuple[int, ...]]], data: st.DataObject
) -> None:
    framed = bytearray(encode_clips(*corpus, ORDER0).stream.to_bytes())
    bit = data.draw(st.integers(0, 8 * len(framed) - 1))
    framed[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(StreamError):
        decode_clips(Stream.from_bytes(bytes(framed)))


@pytest.mark.parametrize("model", [ORDER0, CONTEXT])
def test_words_that_no_encoder_wrote_are_a_stream_error(model: str) -> None:
    """All ones is no state of a range coder."""
    header = {"model": model, "sizes": [[5]], "frames": [[49]]}
    with pytest.raises(StreamError, match="impossible"):
        decode_clips(Stream(header, np.full(11, 2**32 - 1, np.uint32)))


# -- what cannot be coded


def tokens(codes: torch.Tensor, frames: list[int], size: int = 16) -> Tokens:
    return Tokens((TokenStream(codes, torch.tensor(frames), (size,) * codes.shape[1], 50.0),))


@given(st.integers(0, 1), st.integers(0, 2), st.sampled_from([-1, 16, 2**40]))
def test_a_token_outside_its_codebook_names_clip_codebook_and_token(
    clip: int, codebook: int, value: int
) -> None:
    codes = torch.zeros(2, 3, 5, dtype=torch.int64)
    codes[clip, codebook, 4] = value
    with pytest.raises(PayloadError, match=rf"'{'ab'[clip]}'.* {value} of codebook {codebook}"):
        clip_codes(tokens(codes, [5, 5]), ["a", "b"])
    # In the padding it is no token.
    assert [c[0].shape for c in clip_codes(tokens(codes, [4, 4]))] == [(3, 4)] * 2


def test_a_clip_without_frames_is_refused_and_one_frame_is_coded() -> None:
    codes = torch.tensor([[[3], [7]], [[1], [2]]])
    with pytest.raises(PayloadError, match=r"clip 1 .*no frames"):
        clip_codes(tokens(codes, [1, 0]))
    with pytest.raises(PayloadError, match=r"clip 0 .*2 frames and has 1"):
        clip_codes(tokens(codes, [2, 1]))
    for clip in clip_codes(tokens(codes, [1, 1])):
        coded = measure_clips([clip], [(16, 16)], CONTEXT)
        assert near_ideal(coded.bits, coded.ideal_bits)


def test_perplexity_and_use() -> None:
    even = codebook_usage(np.array([5, 5, 5, 5, 0, 0, 0, 0]))
    assert even.perplexity == pytest.approx(4.0)
    assert even.used == 0.5
    assert math.isnan(codebook_usage(np.zeros(4, np.int64)).perplexity)


def test_coding_is_fast_enough() -> None:
    # Static 2 M/s, adaptive 0.3 M/s at 16 entries and 0.1 M/s at 1,024, in seconds of this process.
    generator = np.random.default_rng(8)
    for entries, least in ((16, 0.3e6), (1024, 0.1e6)):
        sizes = [(entries,) * 16]
        codes = [generator.integers(0, entries, (16, 1200)).astype(np.int32)]
        static = StaticTables.fit([codes], sizes)
        for model, speed in ((ORDER0, least), (CONTEXT, least), (static, 2e6)):
            measure_clips([codes], sizes, model)  # compiles
            rates = []
            for _ in range(3):
                began = time.process_time()
                coded = encode_clips([codes], sizes, model)
                middle = time.process_time()
                decode_clips(coded.stream, static if model is static else None)
                ended = time.process_time()
                rates.append(codes[0].size / max(middle - began, ended - middle))
            assert max(rates) > speed
