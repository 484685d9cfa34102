"""Static tables of tokens, fitted on other clips: both ends know them, nothing is learnt.

Counts n(k) of the fitting clips give each codebook of K entries p(k) = (n(k) + 1/2) / (N + K/2),
so that a token that was never seen can be coded too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.rate.validate import PayloadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.validate import ClipCodes, Codes

STATIC = "static order-0"
_HALF = 0.5


@dataclass(frozen=True)
class StaticTables:
    """Token counts of other clips: per stream and codebook, int64 (entries,)."""

    counts: tuple[tuple[NDArray[np.int64], ...], ...]

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Entries of each codebook, per stream."""
        return tuple(tuple(len(table) for table in stream) for stream in self.counts)

    @cached_property
    def digest(self) -> str:
        """Names the tables: SHA-256 over sizes and counts."""
        whole = hashlib.sha256(repr(self.sizes).encode())
        for stream in self.counts:
            for table in stream:
                whole.update(table.astype("<i8").tobytes())
        return whole.hexdigest()

    @classmethod
    def fit(cls, clips: Iterable[ClipCodes], sizes: Sequence[Sequence[int]]) -> StaticTables:
        """Counts the tokens of `clips`; `sizes` has the codebooks' entries, per stream."""
        counts = tuple(tuple(np.zeros(size, np.int64) for size in stream) for stream in sizes)
        for clip in clips:
            for stream, codes in zip(counts, clip, strict=True):
                for table, row in zip(stream, codes, strict=True):
                    np.add(table, np.bincount(row, minlength=len(table)), out=table)
        return cls(counts)

    @classmethod
    def merge(cls, parts: Sequence[StaticTables]) -> StaticTables:
        """Tables of all clips that the parts were fitted on."""
        return cls(
            tuple(
                tuple(np.sum(tables, axis=0) for tables in zip(*streams, strict=True))
                for streams in zip(*(part.counts for part in parts), strict=True)
            )
        )

    def cut(self, sizes: Sequence[Sequence[int]]) -> StaticTables:
        """The tables of the first codebooks of each stream, as many as `sizes` has.

        Raises PayloadError where the tables are of other codebooks.
        """
        wanted = tuple(tuple(stream) for stream in sizes)
        cut = StaticTables(
            tuple(tables[: len(s)] for tables, s in zip(self.counts, wanted, strict=False))
        )
        if cut.sizes != wanted:
            raise PayloadError(
                f"the static tables are for codebooks of {_short(self.sizes)} entries, not "
                f"{_short(wanted)}; fit them again with `rdbench fit-entropy`"
            )
        return cut

    def encode(self, encoder: Any, clip: ClipCodes) -> float:
        """Appends a clip to a constriction encoder; returns its ideal code length in bits."""
        bits = 0.0
        for tables, codes in zip(self.counts, clip, strict=True):
            for table, row in zip(tables, codes, strict=True):
                model, p = _model(table)
                encoder.encode(row, model)
                bits -= float(np.log2(p)[row].sum())
        return bits

    def decode(self, decoder: Any, frames: Sequence[int]) -> ClipCodes:
        """The next clip of a constriction decoder; `frames` per stream."""
        clip: list[Codes] = []
        for tables, count in zip(self.counts, frames, strict=True):
            rows = [decoder.decode(_model(table)[0], count) for table in tables]
            clip.append(np.stack(rows).astype(np.int32, copy=False))
        return clip

    def as_json(self) -> list[list[list[int]]]:
        """The counts as plain lists."""
        return [[table.tolist() for table in stream] for stream in self.counts]

    @classmethod
    def from_json(cls, content: Any) -> StaticTables:
        """What `as_json` gave; raises PayloadError for anything else."""
        try:
            counts = tuple(tuple(np.array(t, np.int64) for t in stream) for stream in content)
            fine = counts and all(
                t.ndim == 1 and len(t) and t.min() >= 0 for s in counts for t in s
            )
        except (TypeError, ValueError, OverflowError):
            fine = False
        if not fine:
            raise PayloadError("the static tables are damaged; run `rdbench fit-entropy` again")
        return cls(counts)


def _model(table: NDArray[np.int64]) -> tuple[Any, NDArray[np.float64]]:
    import constriction

    p = np.asarray((table + _HALF) / (int(table.sum()) + _HALF * len(table)), np.float64)
    padded = p if len(p) > 1 else np.append(p, 0.0)  # a coder wants two entries at least
    return constriction.stream.model.Categorical(padded, perfect=False), p


def _short(sizes: Sequence[Sequence[int]]) -> str:
    return "; ".join(f"{len(stream)} × {stream[0] if stream else 0}" for stream in sizes)
