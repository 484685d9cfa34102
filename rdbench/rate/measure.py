"""The rates of an `Encoded`, one per clip and kind.

Frames past a clip's count and samples past its length are never counted. Seconds are the unpadded
duration of what was encoded, so that a point's rate over many clips is total bits / total seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.rate.kl import kl_bits
from rdbench.types import (
    Encoded,
    Packets,
    PacketStream,
    Posterior,
    Rate,
    RateKind,
    Status,
    Tokens,
    Waveform,
)

if TYPE_CHECKING:
    import torch

KL_PRIOR = "N(0, I)"


def rates(encoded: Encoded) -> dict[RateKind, list[Rate]]:
    """Every rate that follows from `encoded` alone: per kind one `Rate` for each clip.

    Tokens have `nominal`, posteriors `kl` (undefined where there is no scale), packets `payload`
    and `container`; a waveform (an anchor's payload) has none.
    """
    payload = encoded.payload
    if isinstance(payload, Waveform):
        return {}
    seconds = (encoded.lengths.double() / encoded.sample_rate).tolist()
    side = side_bits(encoded)
    if isinstance(payload, Tokens):
        bits = nominal_bits(payload)
        return {RateKind.NOMINAL: _rates(RateKind.NOMINAL, bits, side, seconds)}
    if isinstance(payload, Posterior):
        return {RateKind.KL: _kl_rates(payload, side, seconds)}
    return _packet_rates(payload, side, seconds)


def side_bits(encoded: Encoded) -> list[float]:
    """Bits of all side information, per clip."""
    total = [0.0] * encoded.clips
    for item in encoded.side.values():
        total = [t + b for t, b in zip(total, item.bits.tolist(), strict=True)]
    return total


def nominal_bits(tokens: Tokens) -> list[float]:
    """Frames × Σ log2(codebook size), summed over streams, per clip."""
    per_stream = [
        [count * stream.bits_per_frame for count in stream.frames.tolist()]
        for stream in tokens.streams
    ]
    return [sum(clip) for clip in zip(*per_stream, strict=True)]


def payload_bits(stream: PacketStream) -> int:
    """Bits in one clip's packets."""
    return 8 * sum(len(packet) for packet in stream.packets)


def _packet_rates(
    packets: Packets, side: list[float], seconds: list[float]
) -> dict[RateKind, list[Rate]]:
    payload = [float(payload_bits(stream)) for stream in packets.clips]
    container = [8.0 * stream.container_bytes for stream in packets.clips]
    nothing = [0.0] * len(container)
    return {
        RateKind.PAYLOAD: _rates(RateKind.PAYLOAD, payload, side, seconds),
        RateKind.CONTAINER: _rates(RateKind.CONTAINER, container, nothing, seconds),
    }


def _kl_rates(posterior: Posterior, side: list[float], seconds: list[float]) -> list[Rate]:
    if posterior.scale is None:
        reason = "the latent has no trained posterior scale, so its KL to a prior is undefined"
        return [
            Rate(RateKind.KL, float("nan"), s, KL_PRIOR, Status.UNDEFINED, reason) for s in seconds
        ]
    bits: torch.Tensor = kl_bits(posterior)
    return _rates(RateKind.KL, bits.sum(dim=(1, 2)).tolist(), side, seconds, KL_PRIOR)


def _rates(
    kind: RateKind, bits: list[float], side: list[float], seconds: list[float], model: str = ""
) -> list[Rate]:
    return [
        Rate(kind, b + extra, duration, model)
        for b, extra, duration in zip(bits, side, seconds, strict=True)
    ]
