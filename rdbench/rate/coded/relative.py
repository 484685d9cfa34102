"""Relative-entropy coding: a stream whose decoder receives a sample of the posterior itself.

Both ends draw the same candidates from the prior p; the encoder picks one so that it is distributed
as under the posterior q, and sends its number. Which one is found by ordered random coding (Theis &
Yosri, "Algorithms for the communication of samples", ICML 2022): of n candidates z_i the one of
largest

    ln q(z_i) − ln p(z_i) − ln T_i,

T_1 < T_2 < … the ordered times of n exponential clocks, so that early candidates are preferred and
low numbers are likely. With n = 2^(KL + 5), up to 2^17, what comes out is a sample of q but for an
error that the tests bound (some 3 % of its variance). A number costs KL + log2(KL) + O(1) bits (Li
& El Gamal, "Strong functional representation lemma", IEEE Trans. IT 64(11), 2018): ideal for many
bits at once, which take exponential time. So the channels of a frame are divided into blocks of
`BLOCK_BITS` of expected KL under the profile; a block whose KL is above `MOST_BITS` is sent as its
two halves, and a single channel that is, as a sample rounded to 2^-10 of the prior's standard
deviation.

The number N ≥ 1 of a block is sent as its octave ⌊log2 N⌋, whose distribution is learnt on the way,
and the place within it, all alike: a power law in pieces, like Zipf's law, which is the maximum
entropy one for a given E[log2 N].

The prior is that of the profile, N(c, s² + n²) by class of frames and channel. Candidates are rows
of one table for each clip, from the seed, seen by every block from a row and under signs of its
own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from rdbench.rate.coded.base import LatentClip, LatentCoder, put, take
from rdbench.rate.coded.profile import (
    Opening,
    Profile,
    opening_header,
    read_header,
    read_opening,
    write_opening,
)
from rdbench.rate.coded.shared import Purpose, normals, philox, uniforms
from rdbench.rate.stream import Stream, impossible_streams, require
from rdbench.rate.validate import PayloadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.coded.base import Floats, Indices

VERSION = 1
"""Raised when a sample or the length of its stream changes; part of every digest."""

BLOCK_BITS = 10.0
MOST_BITS = 12.0
LEAST_BITS = 0.01
"""Channels of less expected KL are in no block."""
_MOST_CHANNELS = 24
_EXTRA_BITS = 5
_ROWS_BITS = 17
_ROWS = 1 << _ROWS_BITS
_SPLIT = _ROWS_BITS + 1
"""The symbol of a block that is sent in halves; octaves are 0 … 17."""
_FINE = 2.0**-10
_HALF = 1 << 12
_FINEST = _HALF * _HALF // 2


class RelativeCoder(LatentCoder):
    """profile: fitted on other clips; None makes one of each clip and sends it."""

    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = profile
        known = "sent" if profile is None else "fitted"
        self.name = f"ordered random coding, {known} Gaussians"
        self.digest = f"{VERSION} {profile.digest if profile else ''}"

    def encode(self, clip: LatentClip) -> tuple[Stream, float]:
        """As in `LatentCoder`; refuses a latent without scale, too."""
        import constriction

        if clip.scale is None:
            raise PayloadError(
                "the latent has no scale, so there is no sample of it; leave out coded_sample"
            )
        encoder = constriction.stream.queue.RangeEncoder()
        opening = write_opening(encoder, self.profile, clip)
        total = opening.of(opening.profile.total)
        posterior = (clip.mean - opening.of(opening.profile.centre)) / total, clip.scale / total
        blocks = _blocks(opening)
        candidates = _Candidates(clip.seed, blocks, clip.mean.shape)
        chooser = np.random.Generator(philox(clip.seed, Purpose.RACE))
        model, bits = _octave_model(), opening.bits
        numbers, alone = [np.empty(0, np.int64)], list[_Block]()
        while blocks:
            found = np.array([_choose(candidates, one, posterior, chooser) for one in blocks])
            octaves = np.where(found > 0, np.log2(np.maximum(found, 1)).astype(np.int64), _SPLIT)
            bits += model.encode(encoder, octaves[None])
            numbers.append(found[found > 0])
            blocks, single = _halved(blocks, octaves)
            alone += single
        sent = np.concatenate(numbers)
        octaves = np.log2(sent).astype(np.int64)
        for octave in range(1, _ROWS_BITS + 1):
            put(encoder, sent[octaves == octave] - (1 << octave), 1 << octave)
        bits += float(octaves.sum())
        rounded = _rounded([one.of(posterior) for one in alone], chooser) + _FINEST
        for half in (rounded // _HALF, rounded % _HALF):
            put(encoder, half, _HALF)
            bits += math.log2(_HALF) * len(half)
        header = opening_header(self.name, self.digest, clip)
        return Stream(header, encoder.get_compressed()), bits

    def decode(self, stream: Stream) -> NDArray[np.float32]:
        """As in `LatentCoder`; refuses a stream of other tables."""
        import constriction

        header = require(stream, self.name)
        frames, channels, seed = read_header(header, self.digest, self.profile)
        decoder = constriction.stream.queue.RangeDecoder(stream.words)
        with impossible_streams():
            opening = read_opening(decoder, self.profile, frames, channels)
            return self._decode(decoder, opening, seed)

    @staticmethod
    def _decode(decoder: Any, opening: Opening, seed: int) -> NDArray[np.float32]:
        blocks = _blocks(opening)
        shape = opening.profile.channels, len(opening.classes)
        candidates = _Candidates(seed, blocks, shape)
        model, chosen, alone = _octave_model(), list[_Block](), list[_Block]()
        found = [np.empty(0, np.int64)]
        while blocks:
            octaves = model.decode(decoder, len(blocks))[0]
            chosen += [one for one, octave in zip(blocks, octaves, strict=True) if octave < _SPLIT]
            found.append(octaves[octaves < _SPLIT].astype(np.int64))
            blocks, single = _halved(blocks, octaves)
            alone += single
        octaves = np.concatenate(found)
        numbers = 1 << octaves
        for octave in range(1, _ROWS_BITS + 1):
            here = octaves == octave
            numbers[here] += take(decoder, int(here.sum()), 1 << octave)
        halves = [take(decoder, len(alone), _HALF) for _ in range(2)]
        # What is in no block has the prior's distribution.
        values = normals(seed, Purpose.FILL, *shape)
        for one, number in zip(chosen, numbers.tolist(), strict=True):
            values[one.channels, one.frame] = candidates.of(one, number)
        for one, rounded in zip(alone, halves[0] * _HALF + halves[1] - _FINEST, strict=True):
            values[one.channels, one.frame] = rounded * _FINE
        profile = opening.profile
        latent: Floats = opening.of(profile.centre) + opening.of(profile.total) * values
        return latent.astype(np.float32)


@dataclass(frozen=True)
class _Block:
    """Channels of one frame that are sent as one number."""

    frame: int
    channels: Indices

    def of(self, tables: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """The block's part of mean and scale."""
        mean, scale = (table[self.channels, self.frame] for table in tables)
        return mean, scale


class _Candidates:
    """What both ends draw: normal rows, and for each block a row to begin at and signs."""

    def __init__(self, seed: int, blocks: Sequence[_Block], shape: tuple[int, ...]) -> None:
        columns = max((len(one.channels) for one in blocks), default=0)
        drawn = normals(seed, Purpose.CANDIDATES, columns, _ROWS).T
        self.rows = np.ascontiguousarray(drawn, np.float32)
        self._signs = np.where(uniforms(seed, Purpose.SIGNS, *shape) < 0.5, -1.0, 1.0)
        self._starts = (_ROWS * uniforms(seed, Purpose.SHIFTS, *shape)).astype(np.int64)

    def signs(self, block: _Block) -> Floats:
        """Of each of the block's channels, 1 or −1."""
        found: Floats = self._signs[block.channels, block.frame]
        return found

    def start(self, block: _Block) -> int:
        """The row of the block's first candidate; the last row is followed by the first."""
        return int(self._starts[block.channels[0], block.frame])

    def of(self, block: _Block, number: int) -> Floats:
        """The candidate of a number from 1 on."""
        row = self.rows[(self.start(block) + number - 1) % _ROWS, : len(block.channels)]
        return self.signs(block) * row


def _blocks(opening: Opening) -> list[_Block]:
    """The blocks of every frame: as many as the expected KL asks for, all of about the same."""
    profile = opening.profile
    layouts = []
    for carrying, noise, total in zip(
        profile.carrying(LEAST_BITS), profile.noise, profile.total, strict=True
    ):
        channels = np.flatnonzero(carrying)
        bits = np.cumsum(np.log2(total[channels] / noise[channels]))
        count = max(1, math.ceil(bits[-1] / BLOCK_BITS)) if len(bits) else 0
        cuts = np.searchsorted(bits, np.arange(1, count) * (bits[-1] / count)) if count else []
        layouts.append(
            [piece for part in np.split(channels, cuts) if len(part)
             for piece in np.array_split(part, math.ceil(len(part) / _MOST_CHANNELS))]
        )  # fmt: skip
    return [
        _Block(frame, channels)
        for frame, of_class in enumerate(opening.classes.tolist())
        for channels in layouts[of_class]
    ]


def _halved(blocks: Sequence[_Block], octaves: NDArray[Any]) -> tuple[list[_Block], list[_Block]]:
    """Both halves of the blocks that are split, and those of one channel, which have none."""
    split = [one for one, octave in zip(blocks, octaves, strict=True) if octave == _SPLIT]
    halves = [
        _Block(one.frame, half)
        for one in split
        if len(one.channels) > 1
        for half in np.array_split(one.channels, 2)
    ]
    return halves, [one for one in split if len(one.channels) == 1]


def _choose(
    candidates: _Candidates,
    block: _Block,
    posterior: tuple[Floats, Floats],
    chooser: np.random.Generator,
) -> int:
    """The number of the candidate that is sent, from 1 on; 0 where the block is to be split."""
    mean, scale = block.of(posterior)
    kl = 0.5 * (np.square(scale) + np.square(mean) - 1.0 - 2.0 * np.log(scale)).sum() / math.log(2)
    if not kl <= MOST_BITS:
        return 0
    count = 1 << min(_ROWS_BITS, math.ceil(kl) + _EXTRA_BITS)
    # ln q − ln p of candidates ±z, but for a constant: z² (1 − 1/s²)/2 ± z m/s².
    precision = 1.0 / np.square(scale)
    linear = candidates.signs(block) * mean * precision
    clocks = chooser.standard_exponential(count)
    start = candidates.start(block)
    return int(_race(candidates.rows, start, 0.5 - 0.5 * precision, linear, clocks)) + 1


def _rounded(alone: Sequence[tuple[Floats, Floats]], chooser: np.random.Generator) -> Indices:
    """Samples of single channels in steps of `_FINE`, int64 (blocks,)."""
    if not alone:
        return np.empty(0, np.int64)
    mean, scale = (np.concatenate(part) for part in zip(*alone, strict=True))
    found = np.rint((mean + scale * chooser.standard_normal(len(mean))) / _FINE)
    if not (np.abs(found) < _FINEST).all():
        raise PayloadError(
            f"a sample of the latent lies {np.abs(found).max() * _FINE:g} standard deviations from "
            "where other clips have it; the model's output cannot be coded"
        )
    return found.astype(np.int64)


def _octave_model() -> Any:
    from rdbench.rate.adaptive import ORDER0, AdaptiveModel

    return AdaptiveModel([_SPLIT + 1], ORDER0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _race(rows, start, square, linear, clocks):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Of the largest log-weight less the logarithm of its ordered clock; 0 is row `start`."""
    count, best, winner = len(clocks), -np.inf, 0
    time, log_time = 0.0, -np.inf
    for i in range(count):
        time += clocks[i] / (count - i)
        weight = 0.0
        for c in range(len(square)):
            z = rows[(start + i) % len(rows), c]
            weight += z * (z * square[c] + linear[c])
        # Times only grow: the last logarithm says that most candidates cannot win.
        if weight - log_time > best:
            log_time = math.log(time)
            if weight - log_time > best:
                best, winner = weight - log_time, i
    return winner
