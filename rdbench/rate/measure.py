"""The rates of an `Encoded`, one per clip and kind.

`rates` needs nothing but the `Encoded`. `entropy_rates`, `coded_rates` and `prior_rates` count
under a stated model, which their rows name.

Frames past a clip's count and samples past its length are never counted. Seconds are the unpadded
duration of what was encoded, so that a point's rate over many clips is total bits / total seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rdbench.rate.kl import kl_bits
from rdbench.rate.prior import GaussianPrior
from rdbench.rate.validate import check_encoded
from rdbench.types import (
    KL_PRIOR,
    CodecError,
    Counted,
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
    import numpy as np
    from numpy.typing import NDArray

    from rdbench.rate.coded import LatentCoder
    from rdbench.rate.static import StaticTables


class Prior(Protocol):
    """A prior that knows how channels or frames go together."""

    def kl_bits(
        self, posterior: Posterior, names: Sequence[str] | None = None
    ) -> list[NDArray[np.float64]]:
        """KL of each clip in bits, (frames,) each; raises CodecError for what is no posterior."""


def rates(encoded: Encoded) -> dict[RateKind, list[Rate]]:
    """Every rate that follows from `encoded` alone: per kind one `Rate` for each clip.

    Tokens have `nominal`, posteriors `kl` (undefined where there is no scale), packets `payload`
    and, where there is a file, `container` (`container` alone where they are not told apart from
    it), counted bits the kind that they are of; a waveform (an anchor's payload) has none.

    Raises PayloadError for codes outside of their codebooks, and for frames that do not last as
    long as their clip.
    """
    check_encoded(encoded)
    seconds, side = _seconds(encoded), side_bits(encoded)
    found = _of_payload(encoded, side, seconds)
    for one in encoded.also:
        found[one.kind] = _rates(one.kind, one.bits.tolist(), side, seconds)
    return found


def _of_payload(
    encoded: Encoded, side: list[float], seconds: list[float]
) -> dict[RateKind, list[Rate]]:
    payload = encoded.payload
    if isinstance(payload, Waveform):
        return {}
    if isinstance(payload, Tokens):
        bits = nominal_bits(payload)
        return {RateKind.NOMINAL: _rates(RateKind.NOMINAL, bits, side, seconds)}
    if isinstance(payload, Posterior):
        return {RateKind.KL: _kl_rates(payload, side, seconds)}
    if isinstance(payload, Counted):
        return {payload.kind: _rates(payload.kind, payload.bits.tolist(), side, seconds)}
    return _packet_rates(payload, side, seconds)


def entropy_rates(
    encoded: Encoded,
    model: str | StaticTables,
    *,
    label: str | None = None,
    names: Sequence[str] | None = None,
) -> list[Rate]:
    """Entropy-coded bits of each clip's tokens, a decoded stream each, plus side information.

    Args:
        encoded: tokens.
        model: the name of an adaptive model, or tables fitted on other clips.
        label: the model's name in rows; `model` itself where it is a name.
        names: of the clips, for messages.

    Raises:
        CodecError: for tokens outside their codebook, a clip without frames, a model that cannot
            be used with these codebooks, and a payload that is no tokens.
    """
    from rdbench.rate.entropy import measure_clips
    from rdbench.rate.static import STATIC
    from rdbench.rate.validate import clip_codes

    tokens = encoded.payload
    if not isinstance(tokens, Tokens):
        raise CodecError(f"{type(tokens).__name__} has no tokens to be entropy-coded")
    sizes = [stream.codebook_sizes for stream in tokens.streams]
    bits = [float(measure_clips([clip], sizes, model).bits) for clip in clip_codes(tokens, names)]
    named = label or (model if isinstance(model, str) else STATIC)
    return _rates(RateKind.ENTROPY, bits, side_bits(encoded), _seconds(encoded), named)


def coded_rates(
    encoded: Encoded,
    coder: LatentCoder,
    *,
    label: str | None = None,
    names: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Rate]:
    """Bits of each clip's coded latent, plus side information; raises CodecError as `code` does.

    seeds: one for each clip, those that it is decoded with.
    """
    if not isinstance(encoded.payload, Posterior):
        raise CodecError(f"{type(encoded.payload).__name__} has no latent to be coded")
    bits = [float(clip.bits) for clip in coder.code(encoded.payload, names, seeds)]
    side, seconds = side_bits(encoded), _seconds(encoded)
    return _rates(RateKind.CODED, bits, side, seconds, label or coder.name)


def prior_rates(
    encoded: Encoded,
    prior: GaussianPrior | Prior,
    label: str,
    names: Sequence[str] | None = None,
) -> list[Rate]:
    """KL to a fitted prior, which `label` names; undefined where there is no scale."""
    if not isinstance(encoded.payload, Posterior):
        raise CodecError(f"{type(encoded.payload).__name__} has no KL to a prior")
    side, seconds = side_bits(encoded), _seconds(encoded)
    return _kl_rates(encoded.payload, side, seconds, prior=prior, label=label, names=names)


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
    whole = {RateKind.CONTAINER: _rates(RateKind.CONTAINER, container, nothing, seconds)}
    if not packets.told_apart:
        return whole
    packed = {RateKind.PAYLOAD: _rates(RateKind.PAYLOAD, payload, side, seconds)}
    return packed | whole if any(container) else packed


def _kl_rates(
    posterior: Posterior,
    side: list[float],
    seconds: list[float],
    *,
    prior: GaussianPrior | Prior | None = None,
    label: str = KL_PRIOR,
    names: Sequence[str] | None = None,
) -> list[Rate]:
    if posterior.scale is None:
        reason = "the latent has no trained posterior scale, so its KL to a prior is undefined"
        return [
            Rate(RateKind.KL, float("nan"), s, label, Status.UNDEFINED, reason) for s in seconds
        ]
    if prior is None or isinstance(prior, GaussianPrior):
        bits = kl_bits(posterior, prior, names).sum(dim=(1, 2)).tolist()
    else:
        bits = [float(of_frames.sum()) for of_frames in prior.kl_bits(posterior, names)]
    return _rates(RateKind.KL, bits, side, seconds, label)


def _seconds(encoded: Encoded) -> list[float]:
    found: list[float] = (encoded.lengths.double() / encoded.sample_rate).tolist()
    return found


def _rates(
    kind: RateKind, bits: list[float], side: list[float], seconds: list[float], model: str = ""
) -> list[Rate]:
    return [
        Rate(kind, b + extra, duration, model)
        for b, extra, duration in zip(bits, side, seconds, strict=True)
    ]
