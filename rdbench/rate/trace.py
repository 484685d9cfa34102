"""Where a clip's bits lie: over its frames, and over the channels of its latent.

A trace splits one rate of one clip and sums to it:

- `kl` over frames (Σ over channels) and over channels (Σ over frames) of a posterior;
- `nominal` over frames of tokens: Σ log2(codebook size) of each, the frames of several streams in
  the order of their beginnings;
- `payload` over packets.

Side information, which belongs to no frame, is one more entry with the index −1 (`SIDE`). A trace
over channels says over how many frames it sums, so that bits per frame follow from it alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from rdbench.rate.kl import kl_bits
from rdbench.rate.measure import side_bits
from rdbench.types import Encoded, Packets, Posterior, RateKind, Tokens

VERSION = 1
"""Raised when traces change."""

FRAME, CHANNEL = AXES = ("frame", "channel")
SIDE = -1


@dataclass(frozen=True)
class Trace:
    """The bits of one clip along one axis.

    kind: which bits. axis: "frame" or "channel". index: of each entry, SIDE for side information.
    seconds: where each frame begins; NaN where that is not known, and for channels. bits: each.
    frames: how many frames an entry sums over; 1 along frames.
    """

    kind: RateKind
    axis: str
    index: tuple[int, ...]
    seconds: tuple[float, ...]
    bits: tuple[float, ...]
    frames: int = 1


def traces(
    encoded: Encoded, frame_rate: float | None = None, *, axes: Collection[str] = AXES
) -> list[list[Trace]]:
    """The traces of every clip along those of `axes` that its payload has.

    frame_rate: of packets, in hertz, where it is constant.
    """
    payload, side = encoded.payload, side_bits(encoded)
    if isinstance(payload, Posterior) and payload.scale is not None:
        return _posterior(payload, side, axes)
    if FRAME in axes and isinstance(payload, Tokens):
        return [[_tokens(payload, clip, side[clip])] for clip in range(encoded.clips)]
    if FRAME in axes and isinstance(payload, Packets) and payload.told_apart:
        step = 1.0 / frame_rate if frame_rate else math.nan
        return [
            [_trace(RateKind.PAYLOAD, FRAME, [8.0 * len(p) for p in stream.packets], step, extra)]
            for stream, extra in zip(payload.clips, side, strict=True)
        ]
    return [[] for _ in range(encoded.clips)]


def _posterior(
    posterior: Posterior, side: Sequence[float], axes: Collection[str]
) -> list[list[Trace]]:
    bits, step = kl_bits(posterior), 1.0 / posterior.frame_rate
    found = []
    for clip, frames in enumerate(posterior.frames.tolist()):
        own, extra = bits[clip, :, :frames], side[clip]
        per_frame = _trace(RateKind.KL, FRAME, own.sum(0).tolist(), step, extra)
        per_channel = _trace(RateKind.KL, CHANNEL, own.sum(1).tolist(), math.nan, extra)
        both = (per_frame, replace(per_channel, frames=frames))
        found.append([trace for trace in both if trace.axis in axes])
    return found


def join_channels(parts: Sequence[Sequence[Trace]]) -> list[Trace]:
    """The traces of a clip whose audio channels were encoded one by one.

    Bits of a frame and of a channel of the latent add up; frames where their numbers differ follow
    one another.
    """
    if len(parts) == 1:
        return list(parts[0])
    return [_joined(items) for items in zip(*parts, strict=True)]


def _joined(items: Sequence[Trace]) -> Trace:
    first = items[0]
    if all(item.index == first.index for item in items):
        sums = [math.fsum(bits) for bits in zip(*(item.bits for item in items), strict=True)]
        frames = sum(item.frames for item in items) if first.axis == CHANNEL else 1
        return replace(first, bits=tuple(sums), frames=frames)
    index: list[int] = []
    for item in items:
        start = 1 + max(index, default=-1)
        index += [number if number == SIDE else start + number for number in item.index]
    return replace(
        first,
        index=tuple(index),
        seconds=tuple(value for item in items for value in item.seconds),
        bits=tuple(value for item in items for value in item.bits),
    )


def _tokens(tokens: Tokens, clip: int, side: float) -> Trace:
    frames = sorted(
        (number / stream.frame_rate, stream.bits_per_frame)
        for stream in tokens.streams
        for number in range(int(stream.frames[clip]))
    )
    made = _trace(RateKind.NOMINAL, FRAME, [bits for _, bits in frames], math.nan, side)
    starts = [start for start, _ in frames]
    return replace(made, seconds=(*starts, *made.seconds[len(starts) :]))


def _trace(kind: RateKind, axis: str, bits: Sequence[float], step: float, side: float) -> Trace:
    index, starts = list(range(len(bits))), [number * step for number in range(len(bits))]
    if side:
        return Trace(kind, axis, (*index, SIDE), (*starts, math.nan), (*bits, side))
    return Trace(kind, axis, tuple(index), tuple(starts), tuple(bits))
