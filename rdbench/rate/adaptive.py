"""Adaptive models of tokens: nothing is sent but the stream, the decoder learns as it decodes.

A clip is an int array (codebooks, frames). Every codebook c of K entries has counts of its own,
and the probability of the next token is a mixture whose weights are learnt as well.

`order-0`. With n(k) earlier tokens k among N, three estimates are mixed,

    1 / K        (n(k) + 1/2) / (N + K/2)        (n(k) + 1/32) / (N + K/32)

so that 1,024 entries cost hardly more than nominal before they have been learnt.

`context`. With q the above, two contexts are added: the token of the previous frame in the same
codebook, and the token of the previous codebook in the same frame. Either backs off to q by
interpolation (Witten & Bell 1991, method C): with T different tokens seen in a context, N times,

    p(k | context) = (n(k) + T q(k)) / (N + T)       (q itself in an empty context)

and the three are mixed.

Weights are those of Bayes, w ← w p(k) / Σ w p(k) after each token of a codebook, and never below
10⁻⁴: a mixture costs about log2 3 bits more than the best of its parts, and a part that did badly
can come back. Counts are integers, and the probabilities sums and quotients of float64 in one fixed
order (no fast-math, no fused multiply-add), so encoder and decoder agree to the bit.

Tokens are coded along anti-diagonals: (codebook, frame) with codebook + frame = 0, 1, 2, … Both
contexts of a token then lie on the diagonal before, and a decoder takes a diagonal at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from rdbench.types import CodecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.validate import Codes

ORDER0 = "adaptive order-0"
CONTEXT = "adaptive context"
MODELS = (ORDER0, CONTEXT)
MAX_CONTEXT_ENTRIES = 1 << 28
"""Counts of two bytes that the contexts may take; beyond them only order-0 can be used."""

_HALF, _SPARSE = 0.5, 1.0 / 32.0
_CHUNK_VALUES = 1 << 20
_FULL_ROW = 0xFFFF
_LEAST_WEIGHT = 1e-4


def context_fits(sizes: Sequence[int]) -> bool:
    """Whether `CONTEXT` is possible with codebooks of `sizes` entries."""
    largest = max(2, *sizes)
    return 2 * len(sizes) * (largest + 1) * largest <= MAX_CONTEXT_ENTRIES


class AdaptiveModel:
    """What encoder and decoder have learnt; the two start alike and stay alike.

    sizes: entries of each codebook. Clips are coded one after the other with one model where a
    corpus is one stream; a clip's first frame has no previous one.
    """

    def __init__(self, sizes: Sequence[int], name: str) -> None:
        """Raises CodecError for an unknown model, or where its contexts take too much memory."""
        if name not in MODELS:
            raise CodecError(f"there is no model {name!r}; use one of: {', '.join(MODELS)}")
        if name == CONTEXT and not context_fits(sizes):
            raise CodecError(
                f"contexts of {len(sizes)} codebooks with up to {max(sizes)} entries take too "
                f"much memory; use {ORDER0!r}"
            )
        count, largest = len(sizes), max(2, *sizes)
        rows = largest + 1 if name == CONTEXT else 0
        self.name = name
        self.sizes = tuple(sizes)
        self._state = (
            np.array(sizes, np.int64),
            np.zeros((count, largest), np.int64),
            np.zeros(count, np.int64),
            # One row for each token, and one for "there is none".
            np.zeros((2, count, rows, largest), np.uint16),
            np.zeros((2, count, rows, 2), np.int64),
            np.full((count, 6), 1.0 / 3.0),
        )

    def encode(self, encoder: Any, codes: Codes) -> float:
        """Appends a clip (codebooks, frames) to a constriction encoder.

        Returns the model's ideal code length in bits: −Σ log2 p.
        """
        family = _family()
        codes = np.ascontiguousarray(codes, np.int32)
        places = _places(*codes.shape)
        chunk = max(1, _CHUNK_VALUES // self._largest)
        ideal = 0.0
        for start in range(0, len(places), chunk):
            part = places[start : start + chunk]
            table = np.empty((len(part), self._largest), np.float32)
            ideal += _learn_chunk(self._state, codes, part, table)
            encoder.encode(codes[part[:, 0], part[:, 1]], family, table)
        return ideal

    def decode(self, decoder: Any, frames: int) -> Codes:
        """The next clip (codebooks, frames) of a constriction decoder."""
        family = _family()
        count = len(self.sizes)
        codes = np.zeros((count, frames), np.int32)
        table = np.empty((count, self._largest), np.float32)
        state, decode = self._state, decoder.decode
        found = np.empty(0, np.int32)
        last = frames + count - 1 if frames else 0
        for diagonal in range(last):
            used = _step(state, codes, diagonal, found, table)
            found = decode(family, table if used == count else table[:used])
        if last:
            _learn_diagonal(state, codes, last - 1, found)
        return codes

    @property
    def _largest(self) -> int:
        return int(self._state[1].shape[1])


def _family() -> Any:
    import constriction

    return constriction.stream.model.Categorical(perfect=False)


def _places(count: int, frames: int) -> NDArray[np.int64]:
    """Every (codebook, frame), int64 (tokens, 2), in the order of the stream."""
    codebooks, times = np.indices((count, frames)).reshape(2, -1)
    order = np.lexsort((codebooks, codebooks + times))
    return np.stack([codebooks[order], times[order]], axis=1)


# -- compiled. A state is (sizes, counts, totals, context counts, context totals, weights):
#    int64 (codebooks,), int64 (codebooks, K), int64 (codebooks,), uint16 (2, codebooks, K + 1, K),
#    int64 (2, codebooks, K + 1, 2) with tokens seen and different tokens seen, float64
#    (codebooks, 6): three weights of order-0, three of the contexts. Nothing is annotated: numba
#    takes types from the arguments; and coverage does not see compiled code run.

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _contexts(codes, codebook, frame, none):  # type: ignore[no-untyped-def]  # pragma: no cover
    before = codes[codebook, frame - 1] if frame > 0 else none
    above = codes[codebook - 1, frame] if codebook > 0 else none
    return before, above


@_compiled
def _shares(state, codebook, before, above):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Slopes and intercept of p(k) = a n(k) + b n_before(k) + c n_above(k) + d."""
    sizes, _, totals, _, seen, weights = state
    size, total, w = sizes[codebook], totals[codebook], weights[codebook]
    half, sparse = w[1] / (total + _HALF * size), w[2] / (total + _SPARSE * size)
    slope, flat = half + sparse, w[0] / size + _HALF * half + _SPARSE * sparse
    if seen.shape[2] == 0:
        return slope, 0.0, 0.0, flat
    backed, of_before, of_above = w[3], 0.0, 0.0
    n, different = seen[0, codebook, before, 0], seen[0, codebook, before, 1]
    if n > 0:
        of_before = w[4] / (n + different)
        backed += of_before * different
    else:
        backed += w[4]
    n, different = seen[1, codebook, above, 0], seen[1, codebook, above, 1]
    if n > 0:
        of_above = w[5] / (n + different)
        backed += of_above * different
    else:
        backed += w[5]
    return backed * slope, of_before, of_above, backed * flat


@_compiled
def _predict(state, codes, codebook, frame, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    sizes, counts, _, near, _, _ = state
    none = counts.shape[1]
    before, above = _contexts(codes, codebook, frame, none)
    a, b, c, d = _shares(state, codebook, before, above)
    size = sizes[codebook]
    own = counts[codebook]
    if near.shape[2] == 0:
        for k in range(size):
            out[k] = a * own[k] + d
    else:
        first, second = near[0, codebook, before], near[1, codebook, above]
        for k in range(size):
            out[k] = a * own[k] + b * first[k] + c * second[k] + d
    for k in range(size, none):
        out[k] = 0.0


@_compiled
def _count(row, seen, token):  # type: ignore[no-untyped-def]  # pragma: no cover
    if seen[0] == _FULL_ROW:  # the counts have two bytes: halve what is old
        seen[0] = 0
        seen[1] = 0
        for k in range(len(row)):
            row[k] = row[k] >> 1
            seen[0] += row[k]
            seen[1] += row[k] > 0
    seen[1] += row[token] == 0
    row[token] += 1
    seen[0] += 1


@_compiled
def _reweigh(w, first, second, third):  # type: ignore[no-untyped-def]  # pragma: no cover
    total = w[0] * first + w[1] * second + w[2] * third
    a = max(w[0] * first / total, _LEAST_WEIGHT)
    b = max(w[1] * second / total, _LEAST_WEIGHT)
    c = max(w[2] * third / total, _LEAST_WEIGHT)
    total = a + b + c
    w[0] = a / total
    w[1] = b / total
    w[2] = c / total


@_compiled
def _learn(state, codes, codebook, frame):  # type: ignore[no-untyped-def]  # pragma: no cover
    sizes, counts, totals, near, seen, weights = state
    token, size, total = codes[codebook, frame], sizes[codebook], totals[codebook]
    w, n = weights[codebook], counts[codebook, token]
    p0 = 1.0 / size
    p1 = (n + _HALF) / (total + _HALF * size)
    p2 = (n + _SPARSE) / (total + _SPARSE * size)
    q = w[0] * p0 + w[1] * p1 + w[2] * p2
    if near.shape[2] > 0:
        before, above = _contexts(codes, codebook, frame, counts.shape[1])
        row, told = near[0, codebook, before], seen[0, codebook, before]
        p4 = (row[token] + told[1] * q) / (told[0] + told[1]) if told[0] > 0 else q
        _count(row, told, token)
        row, told = near[1, codebook, above], seen[1, codebook, above]
        p5 = (row[token] + told[1] * q) / (told[0] + told[1]) if told[0] > 0 else q
        _count(row, told, token)
        _reweigh(w[3:], q, p4, p5)
    _reweigh(w[:3], p0, p1, p2)
    counts[codebook, token] += 1
    totals[codebook] += 1


@_compiled
def _learn_chunk(state, codes, places, table):  # type: ignore[no-untyped-def]  # pragma: no cover
    bits = 0.0
    for i in range(len(places)):
        codebook, frame = places[i, 0], places[i, 1]
        _predict(state, codes, codebook, frame, table[i])
        bits -= math.log2(table[i, codes[codebook, frame]])
        _learn(state, codes, codebook, frame)
    return bits


@_compiled
def _learn_diagonal(state, codes, diagonal, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    count, frames = codes.shape
    first, end = max(0, diagonal - frames + 1), min(count, diagonal + 1)
    for codebook in range(first, end):
        codes[codebook, diagonal - codebook] = found[codebook - first]
    for codebook in range(first, end):
        _learn(state, codes, codebook, diagonal - codebook)


@_compiled
def _step(state, codes, diagonal, found, table):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Takes in the tokens of the diagonal before; probabilities of this one; how many they are."""
    count, frames = codes.shape
    if diagonal > 0:
        _learn_diagonal(state, codes, diagonal - 1, found)
    first, end = max(0, diagonal - frames + 1), min(count, diagonal + 1)
    for codebook in range(first, end):
        _predict(state, codes, codebook, diagonal - codebook, table[codebook - first])
    return end - first
