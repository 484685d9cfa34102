"""From a reference batch to reconstructions with their rates, under one protocol.

The reference, already at the protocol's rate and layout, is brought to the codec's native rate
and channels, encoded (once for all points of a nested codec), cut, decoded under each variant,
and brought back to the protocol's rate, layout and exact lengths. A point that fails is a result
with a reason; the other points go on. The codec gets a copy of the reference, so that one which
changes its input cannot be scored against itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from rdbench.audio.resample import fit_lengths, resample_batch
from rdbench.codecs.base import Codec
from rdbench.engine.channels import (
    ChannelPolicy,
    gather,
    gather_rates,
    policy,
    spread,
    spread_seeds,
)
from rdbench.rate import coded_rates
from rdbench.rate import rates as measure_rates
from rdbench.rate.trace import Trace, join_channels, traces
from rdbench.types import (
    AudioBatch,
    CodecError,
    Encoded,
    OperatingPoint,
    Rate,
    RateKind,
    RdbenchError,
    Variant,
)


@dataclass(frozen=True)
class Reconstruction:
    """What came of one point and variant.

    audio: at the protocol's rate, layout and lengths; None where there is none.
    rates: measured even where decoding failed. failure: why there is no audio, else "". traces: of
    each clip, along the axes that were asked for.
    """

    point: str
    variant: Variant
    audio: AudioBatch | None
    rates: Mapping[RateKind, Sequence[Rate]] = field(default_factory=dict)
    failure: str = ""
    traces: Sequence[Sequence[Trace]] = ()


def reconstruct(
    codec: Codec,
    reference: AudioBatch,
    *,
    wanted: Sequence[tuple[str, Variant]],
    clip_seeds: Sequence[int],
    axes: Collection[str] = (),
) -> Iterator[Reconstruction]:
    """Yields one `Reconstruction` for each wanted (point, variant), points in the codec's order.

    axes: along what to trace the rates. Out-of-memory errors and interrupts pass through; any other
    exception of the adapter becomes the failure of what it was asked for.
    """
    task = _Task(codec, reference, clip_seeds, axes)
    by_point: dict[str, list[Variant]] = {}
    for name, variant in wanted:
        by_point.setdefault(name, []).append(variant)
    for point in codec.points:
        if point.name in by_point:
            yield from task.run(point, by_point[point.name])


class _Task:
    """One codec on one batch; holds what its points share."""

    def __init__(
        self,
        codec: Codec,
        reference: AudioBatch,
        clip_seeds: Sequence[int],
        axes: Collection[str],
    ) -> None:
        self._axes = axes
        self._codec = codec
        self._reference = reference
        self._seeds = clip_seeds
        self._native: AudioBatch | None = None
        self._policy = ChannelPolicy.NATIVE
        self._highest: Encoded | None = None

    def run(self, point: OperatingPoint, variants: Sequence[Variant]) -> Iterator[Reconstruction]:
        try:
            encoded = self._encode(point)
            _check_encoded(self._codec, encoded, self._native)
            measured = measure_rates(encoded)
            _check_headline(self._codec, measured)
            rates = gather_rates(measured, self._policy, self._reference.channels)
            found = self._traces(encoded) if self._axes else ()
        except (Exception, SystemExit) as error:
            reason = self._explain(error, "encoding", point)
            yield from (Reconstruction(point.name, v, None, {}, reason) for v in variants)
            return
        for variant in variants:
            own: Mapping[RateKind, Sequence[Rate]] = rates
            try:
                if variant is Variant.CODED:
                    own = self._coded_rates(encoded)
                audio = self._decode(encoded, variant)
            except (Exception, SystemExit) as error:
                reason = self._explain(error, "decoding", point)
                yield Reconstruction(point.name, variant, None, own, reason, found)
            else:
                yield Reconstruction(point.name, variant, audio, own, "", found)

    def _traces(self, encoded: Encoded) -> list[list[Trace]]:
        found = traces(encoded, self._codec.info.frame_rate, axes=self._axes)
        per_clip = len(found) // self._reference.clips
        return [
            join_channels(found[start : start + per_clip])
            for start in range(0, len(found), per_clip)
        ]

    def _coded_rates(self, encoded: Encoded) -> Mapping[RateKind, Sequence[Rate]]:
        """The variant `coded` has the rate of its own stream, and no other."""
        coder = getattr(self._codec, "latent_coder", None)
        if coder is None:
            raise CodecError(f"{self._codec.info.name} has no variant 'coded'")
        found = {RateKind.CODED: coded_rates(encoded, coder)}
        return gather_rates(found, self._policy, self._reference.channels)

    def _explain(self, error: BaseException, doing: str, point: OperatingPoint) -> str:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise error
        if isinstance(error, RdbenchError):
            return str(error)
        name = self._codec.info.name
        return f"{name} raised {type(error).__name__} while {doing} at {point.name}: {error}"

    def _encode(self, point: OperatingPoint) -> Encoded:
        codec = self._codec
        if self._native is None:
            self._policy = policy(codec.info, self._reference.channels)
            rate = codec.info.native_rate(self._reference.sample_rate)
            copy = AudioBatch(
                self._reference.samples.clone(),
                self._reference.lengths.clone(),
                self._reference.sample_rate,
            )
            self._native = resample_batch(spread(copy, self._policy), rate)
        if not codec.nested:
            return codec.encode(_copy(self._native), point)
        if self._highest is None:
            self._highest = codec.encode(_copy(self._native), codec.points[-1])
        if point.name == codec.points[-1].name:
            return self._highest
        return codec.at(self._highest, point)

    def _decode(self, encoded: Encoded, variant: Variant) -> AudioBatch:
        assert self._native is not None
        channels = self._reference.channels
        seeds = spread_seeds(self._seeds, self._policy, channels)
        decoded = self._codec.decode(self._codec.decoder_input(encoded, variant, seeds))
        _check_shape(self._codec, decoded, self._native)
        gathered = gather(decoded, self._policy, channels)
        back = resample_batch(gathered, self._reference.sample_rate)
        return fit_lengths(back, self._reference.lengths)


def _copy(audio: AudioBatch) -> AudioBatch:
    return AudioBatch(audio.samples.clone(), audio.lengths.clone(), audio.sample_rate)


def _check_encoded(codec: Codec, encoded: Encoded, native: AudioBatch | None) -> None:
    """Rates follow from what an adapter states here, so it must state what it was given."""
    assert native is not None
    got = (encoded.lengths.tolist(), encoded.sample_rate, encoded.channels)
    want = (native.lengths.tolist(), native.sample_rate, native.channels)
    for what, have, expected in zip(
        ("lengths in samples", "sample rate", "channels"), got, want, strict=True
    ):
        if have != expected:
            raise CodecError(
                f"{codec.info.name} states {what} {have} of what it encoded, which had {expected}"
            )


def _check_headline(codec: Codec, rates: Mapping[RateKind, Sequence[Rate]]) -> None:
    headline = codec.info.headline
    if headline is not None and headline not in rates:
        kinds = ", ".join(rates) or "none"
        raise CodecError(
            f"{codec.info.name} names {headline.value} as its headline rate, but what it encodes "
            f"has: {kinds}"
        )


def _check_shape(codec: Codec, decoded: AudioBatch, native: AudioBatch) -> None:
    got = (tuple(decoded.samples.shape[:2]), decoded.lengths.tolist(), decoded.sample_rate)
    want = (tuple(native.samples.shape[:2]), native.lengths.tolist(), native.sample_rate)
    for what, have, expected in zip(
        ("clips and channels", "lengths in samples", "sample rate"), got, want, strict=True
    ):
        if have != expected:
            raise CodecError(
                f"{codec.info.name} decoded to {what} {have} where {expected} were encoded"
            )
