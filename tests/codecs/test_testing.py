"""`check_codec` passes a sound codec and names the rule that a broken one breaks.

The sound codec is a uniform quantizer with 8 bits per sample as tokens; each broken one differs
from it in one thing.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from rdbench.codecs.agreement import residual_lag
from rdbench.codecs.base import Codec
from rdbench.codecs.testing import CodecCheckError, check_codec, example_audio
from rdbench.types import (
    AudioBatch,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    OperatingPoint,
    RateKind,
    RunsOn,
    Tokens,
    TokenStream,
)


class Quantizer(Codec):
    """Samples as indices of 2^bits levels: right in every respect."""

    def __init__(self) -> None:
        self.info = CodecInfo(
            "quantizer", "test", (8000,), (1,), RateKind.NOMINAL, RunsOn.POOL, frame_rate=8000
        )
        self.points = (
            OperatingPoint("6 bits", 48.0, {"bits": 6}),
            OperatingPoint("8 bits", 64.0, {"bits": 8}),
        )

    def prepare(self, audio: AudioBatch) -> torch.Tensor:
        return audio.samples

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        levels = 2 ** point.settings["bits"]
        codes = ((self.prepare(audio).clamp(-1, 1) + 1) / 2 * (levels - 1)).round().long()
        stream = TokenStream(codes, audio.lengths.clone(), (levels,), 8000.0)
        return Encoded(Tokens((stream,)), audio.lengths.clone(), 8000, 1)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        (stream,) = decoder_input.payload.streams
        samples = stream.codes / (stream.codebook_sizes[0] - 1) * 2.0 - 1.0
        inside = torch.arange(samples.shape[-1]) < decoder_input.lengths[:, None]
        longest = int(decoder_input.lengths.max())
        samples = torch.where(inside[:, None], samples, 0.0)[..., :longest].float()
        return AudioBatch(samples, decoder_input.lengths.clone(), 8000)


class MutatesInput(Quantizer):
    def prepare(self, audio):
        return audio.samples.mul_(0.5)


class MutatesCodes(Quantizer):
    def decode(self, decoder_input):
        decoded = super().decode(decoder_input)
        decoder_input.payload.streams[0].codes.zero_()
        return decoded


class SamplesTooMany(Quantizer):
    def decode(self, decoder_input):
        decoded = super().decode(decoder_input)
        longer = torch.nn.functional.pad(decoded.samples, (0, 1))
        return dataclasses.replace(decoded, samples=longer)


class NoiseInPadding(Quantizer):
    def decode(self, decoder_input):
        decoded = super().decode(decoder_input)
        return dataclasses.replace(decoded, samples=decoded.samples + 1e-3)


class BatchNormalized(Quantizer):
    def prepare(self, audio):
        return audio.samples / audio.samples.abs().max()


class SeesPadding(Quantizer):
    def prepare(self, audio):
        return audio.samples - audio.samples.mean(dim=-1, keepdim=True)


class DecodesBatchDifferently(Quantizer):
    def decode(self, decoder_input):
        decoded = super().decode(decoder_input)
        gain = 1 / decoded.samples.abs().max()
        return dataclasses.replace(decoded, samples=decoded.samples * gain)


class Random(Quantizer):
    def prepare(self, audio):
        return audio.samples + 0.01 * torch.randn(audio.samples.shape)


class Remembers(Quantizer):
    """Keeps a scale of what it encoded last, where its decoder looks it up."""

    peak = torch.ones(1)

    def prepare(self, audio):
        self.peak = audio.samples[:1].abs().amax()
        return audio.samples

    def decode(self, decoder_input):
        decoded = super().decode(decoder_input)
        return dataclasses.replace(decoded, samples=decoded.samples * self.peak)


class Late(Quantizer):
    def __init__(self, delay: int = 3) -> None:
        super().__init__()
        self.delay = delay

    def decode(self, decoder_input):
        decoded = super().decode(decoder_input)
        late = torch.nn.functional.pad(decoded.samples, (self.delay, 0))[..., : -self.delay]
        inside = torch.arange(late.shape[-1]) < decoder_input.lengths[:, None]
        return dataclasses.replace(decoded, samples=torch.where(inside[:, None], late, 0.0))


class HoldsNan(Quantizer):
    def decode(self, decoder_input):
        decoded = super().decode(decoder_input)
        return dataclasses.replace(decoded, samples=decoded.samples / 0)


class RateFalls(Quantizer):
    def __init__(self) -> None:
        super().__init__()
        first, last = self.points
        self.points = (
            dataclasses.replace(first, settings={"bits": 8}),
            dataclasses.replace(last, settings={"bits": 6}),
        )


class OutOfOrder(Quantizer):
    def __init__(self) -> None:
        super().__init__()
        self.points = self.points[::-1]


class OneName(Quantizer):
    def __init__(self) -> None:
        super().__init__()
        self.points = tuple(dataclasses.replace(point, name="x") for point in self.points)


class OtherHeadline(Quantizer):
    def __init__(self) -> None:
        super().__init__()
        self.info = dataclasses.replace(self.info, headline=RateKind.PAYLOAD)


class Restated(Quantizer):
    """States other things of its tokens than what they are."""

    def encode(self, audio, point):
        encoded = super().encode(audio, point)
        stream = self.restated(encoded.payload.streams[0])
        return dataclasses.replace(encoded, payload=Tokens((stream,)))

    def restated(self, stream):
        return stream


class CodebookTooSmall(Restated):
    def restated(self, stream):
        return dataclasses.replace(stream, codebook_sizes=(16,))


class WrongFrameRate(Restated):
    def restated(self, stream):
        return dataclasses.replace(stream, frame_rate=4000.0)


class FramesLeftOut(Restated):
    def restated(self, stream):
        return dataclasses.replace(stream, frames=stream.frames // 2)


class OtherFrameRate(Quantizer):
    def __init__(self) -> None:
        super().__init__()
        self.info = dataclasses.replace(self.info, frame_rate=50.0)


def test_a_sound_codec_passes() -> None:
    check_codec(Quantizer())


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (MutatesInput, "encode changes its input in place"),
        (MutatesCodes, "decode changes its input in place"),
        (SamplesTooMany, "decoded samples last"),
        (NoiseInPadding, "not zero past its length"),
        (BatchNormalized, "alone is not what it is in a batch|depends on padding"),
        (SeesPadding, "depends on padding"),
        (DecodesBatchDifferently, "decode differently in a batch and alone"),
        (Random, "gives other bits"),
        (Remembers, "must be all that decoding needs"),
        (Late, r"comes back \+3 samples late"),
        (HoldsNan, "NaN or infinity"),
        (RateFalls, "order the points by rate"),
        (OutOfOrder, "not in the order of their target_kbps"),
        (OneName, "share a name"),
        (CodebookTooSmall, r"token \d+ of codebook 0 at frame \d+ is outside its 16 entries"),
        (WrongFrameRate, "info.frame_rate is 8000, and what it encodes has 4000"),
        (FramesLeftOut, "2400 frames, and 0.6 s at 8000 frames per second are 4800"),
        (OtherFrameRate, "info.frame_rate is 50, and what it encodes has 8000"),
        (OtherHeadline, "no rate of its headline kind 'payload'"),
    ],
)
def test_a_broken_codec_is_told_which_rule_it_breaks(broken, sentence: str) -> None:
    with pytest.raises(CodecCheckError, match=sentence) as caught:
        check_codec(broken())
    assert isinstance(caught.value, (AssertionError, CodecError))
    assert str(caught.value).startswith("quantizer")


def test_the_allowed_residual_is_the_callers() -> None:
    check_codec(Late(1), max_residual=1)
    check_codec(Late(40), max_residual=None)
    with pytest.raises(CodecCheckError, match="allowed ±1"):
        check_codec(Late(2), max_residual=1)


def test_the_example_is_ragged_reproducible_and_at_a_native_rate() -> None:
    audio = example_audio(Quantizer(), seed=3)
    assert audio.sample_rate == 8000
    assert audio.channels == 1
    assert not audio.uniform
    lengths = audio.lengths.tolist()
    assert len(set(lengths)) < len(lengths), "two clips of one length, so that batches form"
    assert torch.equal(audio.samples, example_audio(Quantizer(), seed=3).samples)
    assert not torch.equal(audio.samples, example_audio(Quantizer(), seed=4).samples)


@pytest.mark.parametrize(("lag", "noise"), itertools.product([-480, -1, 0, 1, 7, 900], [0.0, 0.5]))
def test_residual_lag_finds_a_shift(lag: int, noise: float) -> None:
    generator = torch.Generator().manual_seed(1)
    reference = torch.randn(2, 6000, generator=generator)
    shifted = torch.roll(reference, lag, dims=-1)
    shifted = shifted + noise * torch.randn(shifted.shape, generator=generator)
    found, correlation = residual_lag(reference=reference, reconstruction=shifted)
    assert found == lag
    assert 0.7 < correlation <= 1 + 1e-9


def test_silence_has_no_lag() -> None:
    assert residual_lag(reference=torch.zeros(1, 50), reconstruction=torch.ones(1, 50))[1] == 0


def test_progress_is_told_and_the_quick_mode_looks_at_one_point() -> None:
    said: list[str] = []
    check_codec(Quantizer(), say=said.append)
    assert said[0] == "quantizer: point '6 bits', 1 of 2"
    assert sum("decoding codes" in line for line in said) == 2
    said.clear()
    check_codec(Quantizer(), quick=True, say=said.append)
    assert said[0] == "quantizer: point '8 bits', 1 of 1"
    with pytest.raises(CodecCheckError, match="is outside its 16 entries"):
        check_codec(CodebookTooSmall(), quick=True)
    with pytest.raises(CodecCheckError, match=r"alone is not what it is in a batch|on padding"):
        check_codec(BatchNormalized(), quick=True)
