"""The entropy-coded length of tokens: real streams, decoded back before they are counted.

    adaptive order-0     each codebook's own counts, learnt on the way
    adaptive context     with the previous frame's and the previous codebook's token, and back-off
    static order-0       tables fitted on other clips (`rdbench fit-entropy`)

Each is a row of its own. A clip is a stream of its own, or all clips in a fixed order are one, so
that what adapting costs is paid once. Beside the words of the stream nothing is counted (see
`rdbench.rate.stream`); side information is added by `rdbench.rate.measure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from rdbench.rate.stream import Stream, StreamError, impossible_streams
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from rdbench.rate.adaptive import AdaptiveModel
    from rdbench.rate.static import StaticTables
    from rdbench.rate.validate import ClipCodes

VERSION = 1
"""Raised when the length of a stream of tokens changes, under any model."""

Sizes = Sequence[Sequence[int]]


class RoundTripError(RdbenchError):
    """A stream that did not decode to what was encoded: a fault of rdbench, never a rate."""


@dataclass(frozen=True)
class CodedTokens:
    """A stream, and what the model itself says its length should be (bits)."""

    stream: Stream
    ideal_bits: float

    @property
    def bits(self) -> int:
        """Bits of the stream that count."""
        return self.stream.bits


def encode_clips(
    clips: Sequence[ClipCodes], sizes: Sizes, model: str | StaticTables
) -> CodedTokens:
    """One stream of `clips`, in their order.

    Args:
        clips: per clip and token stream an int32 array (codebooks, frames), as `clip_codes` gives.
        sizes: entries of each codebook, per token stream.
        model: the name of an adaptive model, or static tables.

    Raises:
        CodecError: for an unknown model, or tables of other codebooks.
    """
    import constriction

    encoder = constriction.stream.queue.RangeEncoder()
    header: dict[str, Any] = {
        "sizes": [list(map(int, stream)) for stream in sizes],
        "frames": [[codes.shape[1] for codes in clip] for clip in clips],
    }
    ideal = 0.0
    if isinstance(model, str):
        models = _fresh(sizes, model)
        header["model"] = model
        for clip in clips:
            for adaptive, codes in zip(models, clip, strict=True):
                ideal += adaptive.encode(encoder, codes)
    else:
        tables = model.cut(sizes)
        header |= {"model": _static_name(), "tables": tables.digest}
        for clip in clips:
            ideal += tables.encode(encoder, clip)
    return CodedTokens(Stream(header, encoder.get_compressed()), ideal)


def decode_clips(stream: Stream, tables: StaticTables | None = None) -> list[ClipCodes]:
    """The clips of a stream; `tables` for one that was written with static tables.

    Raises StreamError where the stream is not for these tables, or not whole.
    """
    import constriction

    sizes, frames, name = _read_header(stream)
    decoder = constriction.stream.queue.RangeDecoder(stream.words)
    if name == _static_name():
        if tables is None or tables.cut(sizes).digest != stream.header.get("tables"):
            raise StreamError("the stream was written with other static tables; give those")
        cut = tables.cut(sizes)
        with impossible_streams():
            clips = [cut.decode(decoder, counts) for counts in frames]
    else:
        models = _fresh(sizes, name)
        with impossible_streams():
            clips = [
                [model.decode(decoder, count) for model, count in zip(models, counts, strict=True)]
                for counts in frames
            ]
    if not decoder.maybe_exhausted():
        raise StreamError("the stream is longer than its header says; encode it again")
    return clips


def measure_clips(
    clips: Sequence[ClipCodes], sizes: Sizes, model: str | StaticTables
) -> CodedTokens:
    """`encode_clips`, with the framed stream decoded again; raises RoundTripError if it differs."""
    coded = encode_clips(clips, sizes, model)
    back = decode_clips(
        Stream.from_bytes(coded.stream.to_bytes()), None if isinstance(model, str) else model
    )
    for index, (clip, again) in enumerate(zip(clips, back, strict=True)):
        if not all(np.array_equal(a, b) for a, b in zip(clip, again, strict=True)):
            raise RoundTripError(
                f"clip {index} did not come back from its {coded.stream.header['model']} stream; "
                "please report this"
            )
    return coded


def _fresh(sizes: Sizes, name: str) -> list[AdaptiveModel]:
    from rdbench.rate.adaptive import AdaptiveModel

    return [AdaptiveModel(stream, name) for stream in sizes]


def _static_name() -> str:
    from rdbench.rate.static import STATIC

    return STATIC


def _read_header(stream: Stream) -> tuple[list[list[int]], list[list[int]], str]:
    header = stream.header
    sizes, frames, name = header.get("sizes"), header.get("frames"), header.get("model")
    if (
        isinstance(name, str)
        and _counts(sizes, least=1)
        and _counts(frames, least=0)
        and all(len(clip) == len(sizes) for clip in frames)
    ):
        return sizes, frames, name
    raise StreamError("the stream's header does not describe tokens; encode it again")


def _counts(value: object, *, least: int) -> TypeGuard[list[list[int]]]:
    return isinstance(value, list) and all(
        isinstance(row, list) and row and all(type(n) is int and n >= least for n in row)
        for row in value
    )
