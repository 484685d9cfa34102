"""Streams that can be trusted: a range coder's words, framed so that damage is noticed.

A frame is

    "RDBS" | header's length (4 bytes) | header (JSON) | words (4 bytes each) | digest (8 bytes)

all little-endian, the digest BLAKE2b over everything before it. The header says what a container
of any codec says: which model, how many frames, the codebooks' sizes. Only the words are the rate:
`Stream.bits` counts neither header nor digest, just as `payload` counts no container. Without the
digest a range decoder would turn a flipped bit into other tokens without complaint.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.types import CodecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"RDBS"
DIGEST_BYTES = 8
WORD_BITS = 32
_LENGTH = struct.Struct("<I")
_MAX_HEADER = 1 << 20


class StreamError(CodecError):
    """A stream that is cut off, altered, or not for this decoder."""


@dataclass(frozen=True)
class Stream:
    """What a coder wrote: `header` as JSON values, `words` uint32 (words,)."""

    header: Mapping[str, Any]
    words: NDArray[np.uint32]

    @property
    def bits(self) -> int:
        """Bits that count: the words alone."""
        return WORD_BITS * len(self.words)

    def to_bytes(self) -> bytes:
        """The stream, framed."""
        header = json.dumps(self.header, sort_keys=True, separators=(",", ":")).encode()
        body = self.words.astype("<u4").tobytes()
        framed = MAGIC + _LENGTH.pack(len(header)) + header + body
        return framed + _digest(framed)

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "the stream") -> Stream:
        """Takes a frame apart.

        name: what a message calls it. Raises StreamError for anything but a whole, unaltered
        frame.
        """
        start = len(MAGIC) + _LENGTH.size
        if len(data) < start + DIGEST_BYTES or data[: len(MAGIC)] != MAGIC:
            raise StreamError(f"{name} is not a stream of rdbench, or is cut off; encode it again")
        framed, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        if _digest(framed) != digest:
            raise StreamError(
                f"{name} is damaged (its checksum does not match); fetch or encode it again"
            )
        (length,) = _LENGTH.unpack_from(data, len(MAGIC))
        words = framed[start + length :]
        if length > _MAX_HEADER or length > len(framed) - start or len(words) % 4:
            raise StreamError(f"{name} has an impossible header; encode it again")
        try:
            header = json.loads(framed[start : start + length])
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise StreamError(f"{name} has an unreadable header; encode it again")
        return cls(header, np.frombuffer(words, "<u4").astype(np.uint32))


def require(stream: Stream, model: str, *, name: str = "the stream") -> Mapping[str, Any]:
    """The header of a stream that `model` wrote; raises StreamError for one of another model."""
    found = stream.header.get("model")
    if found != model:
        raise StreamError(f"{name} was written under the model {found!r}, not {model!r}")
    return stream.header


@contextmanager
def impossible_streams() -> Iterator[None]:
    """Makes a StreamError of what a range decoder says of words that no encoder wrote."""
    try:
        yield
    except (AssertionError, ValueError) as error:
        raise StreamError(
            f"the stream is impossible under its model ({error}); encode it again"
        ) from None


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
