"""From references to what was encoded and to reconstructions, under one protocol.

The reference, already at the protocol's rate and layout, is brought to the codec's native rate
and channels, encoded (once for all points of a nested codec), cut, decoded under each variant,
and brought back to the protocol's rate, layout and exact lengths. What was encoded is measured by
every pass before anything is decoded, and nothing is decoded that no pass wants. A point that fails
is an outcome with a reason; the other points go on. The codec gets a copy of the reference, so that
one which changes its input cannot be scored against itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rdbench.audio.channels import (
    ChannelPolicy,
    from_native,
    gather_rates,
    spread_seeds,
    to_native,
)
from rdbench.codecs.base import Codec
from rdbench.engine.measure.encoding import Encoding
from rdbench.engine.measure.passes import Passes, wanting
from rdbench.engine.measure.work import Work
from rdbench.engine.plan.digests import other_seed
from rdbench.engine.plan.families import Needs
from rdbench.rate import rates as measure_rates
from rdbench.types import (
    AudioBatch,
    CodecError,
    Encoded,
    OperatingPoint,
    Posterior,
    Rate,
    RateKind,
    RdbenchError,
)


@dataclass(frozen=True)
class Outcome:
    """What came of one step. audio: at the protocol's rate, layout and lengths; None where there is
    none, for the reason in `failure`.
    """

    work: Work
    audio: AudioBatch | None
    failure: str = ""


def code(
    codec: Codec, reference: AudioBatch, works: Sequence[Work], passes: Passes
) -> Iterator[Outcome]:
    """Measures what is encoded, and yields what is decoded or has failed, points in their order.

    works: one for each step of this codec, all of the clips of `reference`. Out-of-memory errors
    and interrupts pass through; any other exception of the adapter becomes the failure of what it
    was asked for. A work of which nothing is to be decoded has no outcome, unless it failed.
    """
    coding = _Coding(codec, reference, [clip.seed for clip in works[0].clips])
    by_point: dict[str, list[Work]] = {}
    for work in works:
        assert work.step is not None
        by_point.setdefault(work.step.point.name, []).append(work)
    for point in codec.points:
        if point.name in by_point:
            yield from coding.at(point, by_point[point.name], passes)


class _Coding:
    """One codec on one batch; holds what its points share."""

    def __init__(self, codec: Codec, reference: AudioBatch, seeds: Sequence[int]) -> None:
        self._codec = codec
        self._reference = reference
        self._seeds = seeds
        self._native: AudioBatch | None = None
        self._policy = ChannelPolicy.NATIVE
        self._highest: Encoded | None = None

    def at(self, point: OperatingPoint, works: Sequence[Work], passes: Passes) -> Iterator[Outcome]:
        try:
            encoding = self._encoding(point, _found(works[0]))
        except (Exception, SystemExit) as error:
            reason = self._explain(error, "encoding", point)
            yield from (Outcome(work, None, reason) for work in works)
            return
        for work in works:
            failure = self._measure(work, encoding, passes)
            if failure and len(work.clips) > 1:  # one bad clip must not cost the others
                yield Outcome(work, None, failure)
            elif wanting(passes, work, Needs.DECODED):
                yield self._decoded(work, encoding, point)

    def _encoding(self, point: OperatingPoint, found: Mapping[str, Any]) -> Encoding:
        encoded = self._encode(point, found)
        _check_encoded(self._codec, encoded, self._native)
        measured = measure_rates(encoded)
        _check_headline(self._codec, measured)
        channels = self._reference.channels
        rates = gather_rates(measured, self._policy, channels)
        assert self._native is not None
        return Encoding(self._codec, encoded, self._policy, channels, self._native, rates)

    def _measure(self, work: Work, encoding: Encoding, passes: Passes) -> str:
        """Lets the passes measure; what one raises fails its own quantities where a clip is alone.

        Returns the reason, or "".
        """
        reason = ""
        for one, quantities in wanting(passes, work, Needs.ENCODED).items():
            try:
                one.on_encoded(work, encoding)
            except Exception as error:  # a codec's payload may be anything: its fault is a row
                if isinstance(error, torch.cuda.OutOfMemoryError):
                    raise
                reason = (
                    str(error)
                    if isinstance(error, RdbenchError)
                    else f"{one.name} of {work.step} raised {type(error).__name__}: {error}"
                )
                if len(work.clips) == 1:
                    work.fail(0, reason, quantities)
        return reason

    def _explain(self, error: BaseException, doing: str, point: OperatingPoint) -> str:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise error
        if isinstance(error, RdbenchError):
            return str(error)
        name = self._codec.info.name
        return f"{name} raised {type(error).__name__} while {doing} at {point.name}: {error}"

    def _encode(self, point: OperatingPoint, found: Mapping[str, Any]) -> Encoded:
        codec = self._codec
        if self._native is None:
            self._native, self._policy = to_native(self._reference, codec.info)
        if not codec.nested:
            return codec.encode(_copy(self._native), point, **found)
        if self._highest is None:
            self._highest = codec.encode(_copy(self._native), codec.points[-1])
        if point.name == codec.points[-1].name:
            return self._highest
        return codec.at(self._highest, point)

    def _decoded(self, work: Work, encoding: Encoding, point: OperatingPoint) -> Outcome:
        assert self._native is not None
        assert work.step is not None
        channels = self._reference.channels
        drawn = [other_seed(seed, work.step.seed) for seed in self._seeds]
        seeds = spread_seeds(drawn, self._policy, channels)
        codec = self._codec
        try:
            given = _found(work) or _given(work, encoding)
            wanted = codec.decoder_input(encoding.encoded, work.step.variant, seeds, **given)
            decoded = codec.decode(wanted)
            _check_shape(codec, decoded, self._native)
            return Outcome(work, from_native(decoded, self._reference, self._policy))
        except (Exception, SystemExit) as error:
            return Outcome(work, None, self._explain(error, "decoding", point))


def _found(work: Work) -> dict[str, Any]:
    """The argument that brings a codec of files what there is of these clips."""
    assert work.step is not None
    found = work.step.found
    return {"given": [found.clips[clip.name] for clip in work.clips]} if found else {}


def _given(work: Work, encoding: Encoding) -> dict[str, Any]:
    """The argument that brings a codec, which knows no clips, what was predicted for these."""
    assert work.step is not None
    predictions, posterior = work.step.predictions, encoding.encoded.payload
    if predictions is None:
        return {}
    assert isinstance(posterior, Posterior)
    if len(posterior.mean) != len(work.clips):
        raise CodecError(
            f"predicted latents are of whole clips, and {encoding.codec.info.name} codes channels "
            "one by one; set protocol.channels to mono"
        )
    channels = posterior.mean.shape[1]
    return {
        "given": [
            predictions.latent(clip.name, (channels, int(frames)))
            for clip, frames in zip(work.clips, posterior.frames.tolist(), strict=True)
        ]
    }


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
