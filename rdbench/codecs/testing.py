"""`check_codec`: what a codec must do to work in rdbench, as one call.

For the author of an adapter, in a test of their own:

    from rdbench.codecs.testing import check_codec
    check_codec(MyCodec(points=None))

A codec that passes works in the engine. Checked are, on a small ragged batch:

- `info` and `points`: names are unique, promised rates never fall;
- tokens are entries of the codebooks that they are said to be of, and frames last as long as their
  clip at the frame rate that is declared;
- what is measured: the headline rate never falls as the points rise (for packets and posteriors,
  which follow the signal, by no more than 2 %);
- no input is changed in place; the same input and seed give the same bits, the same audio;
- decoding gives exactly the reference's lengths, rate and channels, finite, zero past each length;
- a `DecoderInput` suffices: it decodes to the same after the codec has encoded something else;
- padding is never seen: more of it, with noise in it, changes nothing;
- a batch gives what its clips give alone: rates equal, codes equal for 99.9 % at least, packets
  equal, waveforms and posteriors within 1e-4, and audio from the same codes within 1e-5;
- the declared delay is removed: the lag of largest cross-correlation is 0 (or `max_residual`) at
  the highest point, wherever reference and reconstruction are alike enough to tell (normalized
  correlation of 0.6 at least; a model with random weights is not).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence

from rdbench.codecs.agreement import difference, gap, residual_lag, same, single
from rdbench.codecs.base import Codec
from rdbench.rate import rates
from rdbench.rate.validate import PayloadError, check_encoded
from rdbench.types import (
    AudioBatch,
    CodecError,
    DecoderInput,
    Encoded,
    OperatingPoint,
    Posterior,
    RateKind,
    Status,
    Tokens,
    Variant,
)

_LOG = logging.getLogger(__name__)
AUDIO_TOLERANCE = 1e-5
RATE_SLACK = 0.02
MIN_CORRELATION = 0.6


class CodecCheckError(CodecError, AssertionError):
    """A codec that breaks a rule of the interface; the sentence says which."""


def check_codec(
    codec: Codec,
    *,
    audio: AudioBatch | None = None,
    seed: int = 0,
    seconds: float = 0.6,
    max_residual: int | None = 0,
    quick: bool = False,
    say: Callable[[str], None] | None = None,
) -> None:
    """Checks `codec` against the rules above.

    Args:
        codec: any codec, at all of its points; give it few of them where they are slow.
        audio: at a native rate and channel count, two clips or more of differing lengths; None
            makes `example_audio`.
        seed: of the default audio and of decoding.
        seconds: length of the longest clip of the default audio.
        max_residual: largest lag in samples between reference and reconstruction; None leaves the
            delay unchecked.
        quick: whether to check two clips of differing lengths at the last point alone, with one
            variant, while an adapter is being written: a slow model takes minutes for the whole.
        say: told what is begun, such as `print`; by default `logging` is, of the logger
            `rdbench.codecs.testing` at INFO.

    Raises:
        CodecCheckError: for the first rule that is broken (also an AssertionError).
        CodecError: where the codec itself refuses the audio.
    """
    _check_declarations(codec)
    if audio is None:
        audio = example_audio(codec, seed=seed, seconds=seconds)
    if quick:
        audio = audio.select([0, 1])
    _Check(codec, audio, seed, max_residual, say or _LOG.info).run(quick=quick)


def example_audio(codec: Codec, *, seed: int = 0, seconds: float = 0.6) -> AudioBatch:
    """Four clips of harmonics and noise at the codec's highest native rate up to 48 kHz.

    Two of them are of one length, two shorter and of odd lengths; channels differ from each other.
    """
    import torch

    rates_up_to = [rate for rate in codec.info.sample_rates if rate <= 48_000]
    rate = max(rates_up_to) if rates_up_to else codec.info.native_rate(16_000)
    channels = max(codec.info.channels, default=2)
    longest = round(seconds * rate)
    lengths = torch.tensor([longest, longest * 3 // 5 | 1, longest, longest * 2 // 5 - 7])
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(longest, dtype=torch.float64) / rate
    samples = torch.zeros(len(lengths), channels, longest)
    for clip, length in enumerate(lengths.tolist()):
        for channel in range(channels):
            pitch = 90 + 40 * clip + 15 * channel
            voice = sum(torch.sin(2 * math.pi * pitch * k * time + k * k) / k for k in range(1, 20))
            noise = torch.randn(longest, generator=generator, dtype=torch.float64)
            swell = 0.6 + 0.4 * torch.sin(2 * math.pi * (2 + clip) * time)
            mixed = (0.08 * voice + 0.03 * noise) * swell
            samples[clip, channel, :length] = mixed[:length].float()
    return AudioBatch(samples, lengths, rate)


class _Check:
    """One run of the checks: the codec, its audio, and what they are called in sentences."""

    def __init__(
        self,
        codec: Codec,
        audio: AudioBatch,
        seed: int,
        max_residual: int | None,
        say: Callable[[str], None],
    ) -> None:
        self.codec, self.audio, self.max_residual = codec, audio, max_residual
        self.name = codec.info.name
        self.seeds = [seed + index for index in range(audio.clips)]
        self.say = say

    def run(self, *, quick: bool) -> None:
        points = self.codec.points[-1:] if quick else self.codec.points
        variants = self.codec.variants[:1] if quick else self.codec.variants
        thorough = {points[0].name, points[-1].name}
        top = self._encode(self.audio, points[-1]) if self.codec.nested else None
        before: tuple[str, float] | None = None
        for number, point in enumerate(points, start=1):
            self.say(f"{self.name}: point {point.name!r}, {number} of {len(points)}")
            encoded = self._encode(self.audio, point) if top is None else self._cut(top, point)
            self._check_encoded(encoded, point)
            before = self._check_rate(encoded, point, before)
            for variant in variants:
                self.say(f"{self.name}: decoding {variant.name} at {point.name!r}")
                decoded = self._decode(encoded, variant, self.seeds, point)
                self._check_decoded(decoded, point)
                if point.name in thorough:
                    self._check_repeats(encoded, decoded, variant, point)
                    self._check_decoded_alone(encoded, decoded, variant, point)
                if point is points[-1]:
                    self._check_delay(decoded, point)
            if point.name in thorough:
                self.say(f"{self.name}: encoding with padding and alone at {point.name!r}")
                self._check_padding(encoded, point)
                self._check_encoded_alone(encoded, point)

    def _fail(self, point: OperatingPoint | None, sentence: str) -> CodecCheckError:
        where = f" at point {point.name!r}" if point else ""
        return CodecCheckError(f"{self.name}{where}: {sentence}")

    # What is called, with the guard against changes in place.

    def _encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        given = copy.deepcopy(audio)
        encoded = self.codec.encode(given, point)
        if not same(given, audio):
            raise self._fail(point, "encode changes its input in place; work on a copy")
        return encoded

    def _cut(self, top: Encoded, point: OperatingPoint) -> Encoded:
        given = copy.deepcopy(top)
        cut = self.codec.at(given, point)
        if not same(given, top):
            raise self._fail(point, "at changes its input in place; work on a copy")
        return cut

    def _encode_at(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if not self.codec.nested:
            return self._encode(audio, point)
        return self._cut(self._encode(audio, self.codec.points[-1]), point)

    def _decode(
        self, encoded: Encoded, variant: Variant, seeds: Sequence[int], point: OperatingPoint
    ) -> AudioBatch:
        given = copy.deepcopy(encoded)
        wanted = self.codec.decoder_input(given, variant, seeds)
        if not same(given, encoded):
            raise self._fail(point, "decoder_input changes its input in place; work on a copy")
        kept: DecoderInput = copy.deepcopy(wanted)
        decoded = self.codec.decode(wanted)
        if not same(wanted, kept):
            raise self._fail(point, "decode changes its input in place; work on a copy")
        return decoded

    # What is checked.

    def _check_encoded(self, encoded: Encoded, point: OperatingPoint) -> None:
        audio = self.audio
        if encoded.lengths.tolist() != audio.lengths.tolist():
            raise self._fail(
                point,
                f"Encoded.lengths are {encoded.lengths.tolist()}, "
                f"the clips' are {audio.lengths.tolist()}",
            )
        got = (encoded.sample_rate, encoded.channels)
        want = (audio.sample_rate, audio.channels)
        if got != want:
            raise self._fail(point, f"Encoded says (rate, channels) {got}, the audio has {want}")
        try:
            check_encoded(encoded)
        except PayloadError as error:
            raise self._fail(point, str(error)) from error
        declared = self.codec.info.frame_rate
        for made in _frame_rates(encoded):
            if declared is not None and not math.isclose(declared, made, rel_tol=1e-6):
                raise self._fail(
                    point, f"info.frame_rate is {declared:g}, and what it encodes has {made:g}"
                )

    def _check_rate(
        self, encoded: Encoded, point: OperatingPoint, before: tuple[str, float] | None
    ) -> tuple[str, float] | None:
        kind = self.codec.info.headline
        measured = rates(encoded)
        if kind is None:
            # The KL of a latent without a posterior is there as undefined.
            if any(rate.status is Status.OK for found in measured.values() for rate in found):
                raise self._fail(point, "info.headline is None, and its payload has a rate")
            return None
        if kind not in measured:
            raise self._fail(point, f"its payload has no rate of its headline kind {kind.value!r}")
        bits = math.fsum(rate.bits for rate in measured[kind])
        if not (math.isfinite(bits) and bits >= 0):
            raise self._fail(point, f"its {kind.value} rate is {bits} bits")
        slack = 0.0 if kind is RateKind.NOMINAL else RATE_SLACK
        if before is not None and bits < before[1] * (1 - slack):
            raise self._fail(
                point,
                f"it takes {bits:g} bits and the point before it, {before[0]!r}, {before[1]:g}: "
                "order the points by rate",
            )
        return point.name, bits

    def _check_decoded(self, decoded: AudioBatch, point: OperatingPoint) -> None:
        audio = self.audio
        got = (decoded.sample_rate, decoded.channels, decoded.lengths.tolist())
        want = (audio.sample_rate, audio.channels, audio.lengths.tolist())
        if got != want:
            raise self._fail(
                point, f"decoded (rate, channels, lengths) are {got}, the reference's {want}"
            )
        if decoded.samples.shape[-1] != int(audio.lengths.max()):
            raise self._fail(
                point,
                f"decoded samples last {decoded.samples.shape[-1]}, "
                f"the longest clip {int(audio.lengths.max())}",
            )
        if str(decoded.samples.dtype) != "torch.float32":
            raise self._fail(point, f"decoded samples are {decoded.samples.dtype}, not float32")
        if not bool(decoded.samples.isfinite().all()):
            raise self._fail(point, "decoded samples hold NaN or infinity")
        for clip, length in enumerate(decoded.lengths.tolist()):
            if bool(decoded.samples[clip, :, length:].any()):
                raise self._fail(point, f"decoded clip {clip} is not zero past its length")

    def _check_repeats(
        self, encoded: Encoded, decoded: AudioBatch, variant: Variant, point: OperatingPoint
    ) -> None:
        other = self.audio.select(range(self.audio.clips - 1, -1, -1))
        self._encode_at(other, point)
        again = self._decode(encoded, variant, self.seeds, point)
        distance = gap(again.samples, decoded.samples)
        if distance > AUDIO_TOLERANCE:
            raise self._fail(
                point,
                f"decoding the same {variant.name} again, after other audio was encoded, differs "
                f"by {distance:.1e}: a decoder input and its seeds must be all that decoding needs",
            )
        if not same(self._encode_at(self.audio, point), encoded):
            raise self._fail(point, "encoding the same audio again gives other bits")

    def _check_padding(self, encoded: Encoded, point: OperatingPoint) -> None:
        import torch

        audio, extra = self.audio, 613
        samples = torch.nn.functional.pad(audio.samples, (0, extra))
        time = torch.arange(samples.shape[-1])
        outside = (time[None, :] >= audio.lengths[:, None])[:, None, :].to(samples.device)
        noise = 0.1 * torch.sin(1.7 * time**1.3).to(samples)
        padded = AudioBatch(
            torch.where(outside, noise, samples), audio.lengths.clone(), audio.sample_rate
        )
        problem = difference(self._encode_at(padded, point), encoded)
        if problem:
            raise self._fail(point, f"its output depends on padding: {problem}")

    def _check_encoded_alone(self, encoded: Encoded, point: OperatingPoint) -> None:
        together = rates(encoded)
        for index in range(self.audio.clips):
            alone = self._encode_at(self.audio.select([index]), point)
            problem = difference(alone, single(encoded, index))
            if problem:
                raise self._fail(
                    point, f"clip {index} alone is not what it is in a batch: {problem}"
                )
            for kind, measured in rates(alone).items():
                bits, in_batch = measured[0].bits, together[kind][index].bits
                if kind is not RateKind.KL and bits != in_batch:
                    raise self._fail(
                        point,
                        f"clip {index} takes {bits:g} {kind.value} bits alone "
                        f"and {in_batch:g} in a batch",
                    )

    def _check_decoded_alone(
        self, encoded: Encoded, decoded: AudioBatch, variant: Variant, point: OperatingPoint
    ) -> None:
        for index, length in enumerate(self.audio.lengths.tolist()):
            alone = self._decode(single(encoded, index), variant, [self.seeds[index]], point)
            if alone.samples.shape[-1] != length:
                raise self._fail(
                    point,
                    f"clip {index} alone decodes to {alone.samples.shape[-1]} samples of {length}",
                )
            distance = gap(alone.samples[0], decoded.samples[index, :, :length])
            if distance > AUDIO_TOLERANCE:
                raise self._fail(
                    point,
                    f"the {variant.name} of clip {index} decode differently in a batch and alone "
                    f"(by {distance:.1e}, allowed {AUDIO_TOLERANCE:g})",
                )

    def _check_delay(self, decoded: AudioBatch, point: OperatingPoint) -> None:
        if self.max_residual is None:
            return
        for index, length in enumerate(self.audio.lengths.tolist()):
            reference = self.audio.samples[index, :, :length]
            lag, correlation = residual_lag(
                reference=reference, reconstruction=decoded.samples[index, :, :length]
            )
            if correlation >= MIN_CORRELATION and abs(lag) > self.max_residual:
                raise self._fail(
                    point,
                    f"clip {index} comes back {lag:+d} samples late (allowed ±{self.max_residual}):"
                    f" the delay of {self.codec.info.delay} samples it declares is not what it has",
                )


def _frame_rates(encoded: Encoded) -> list[float]:
    """In hertz, of tokens and posteriors; nothing of what has no frames."""
    payload = encoded.payload
    if isinstance(payload, Tokens):
        return [stream.frame_rate for stream in payload.streams]
    return [payload.frame_rate] if isinstance(payload, Posterior) else []


def _check_declarations(codec: Codec) -> None:
    info, points = codec.info, codec.points
    problem = ""
    names = [point.name for point in points]
    targets = [point.target_kbps for point in points if point.target_kbps is not None]
    if not points:
        problem = "it has no operating points"
    elif len(set(names)) < len(names):
        problem = f"two of its points share a name: {', '.join(names)}"
    elif info.headline is not None and len(targets) < len(points) > 1:
        problem = "a point has no target_kbps; only a codec with one point may leave it out"
    elif targets != sorted(targets):
        problem = f"its points are not in the order of their target_kbps: {', '.join(names)}"
    elif list(info.sample_rates) != sorted(set(info.sample_rates)):
        problem = "info.sample_rates must ascend"
    elif list(info.channels) != sorted(set(info.channels)):
        problem = "info.channels must ascend"
    elif info.delay < 0:
        problem = "info.delay must not be negative"
    elif not codec.variants:
        problem = "it has no variants to decode"
    if problem:
        raise CodecCheckError(f"{info.name}: {problem}")
