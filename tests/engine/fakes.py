"""Codecs that misbehave in one way each, named in specs as `fakes:Class`."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from rdbench.codecs.base import Codec
from rdbench.types import (
    AudioBatch,
    CodecInfo,
    DecoderInput,
    Encoded,
    OperatingPoint,
    Packets,
    PacketStream,
    RateKind,
    RunsOn,
    Tokens,
    TokenStream,
    WeightsError,
)

FRAME = 160
SIZE = 256


class Quantizer(Codec):
    """Quantizes every sample to 8 bits: simple, nested by dropping bits, exact in any batch."""

    runs_on = RunsOn.DEVICE
    nested = True
    channels: tuple[int, ...] = (1,)

    def __init__(self, *, points: Sequence[float | str] | None = None, bits: int = 8) -> None:
        self.points = tuple(OperatingPoint(f"{n}bit", None, {"bits": n}) for n in (2, bits))
        self.info = CodecInfo(
            name="quantizer",
            family="fake",
            sample_rates=(),
            channels=self.channels,
            headline=RateKind.NOMINAL,
            runs_on=self.runs_on,
        )
        self.encoded_batches: list[int] = []

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        self.encoded_batches.append(audio.clips)
        levels = 2 ** int(point.settings["bits"])
        codes = ((audio.samples.clamp(-1, 1) + 1) / 2 * (levels - 1)).round().long()
        stream = TokenStream(
            codes.flatten(1)[:, None], audio.lengths, (levels,), float(audio.sample_rate)
        )
        return Encoded(Tokens((stream,)), audio.lengths, audio.sample_rate, audio.channels)

    def at(self, encoded: Encoded, point: OperatingPoint) -> Encoded:
        assert isinstance(encoded.payload, Tokens)
        stream = encoded.payload.streams[0]
        levels = 2 ** int(point.settings["bits"])
        codes = stream.codes * levels // stream.codebook_sizes[0]
        cut = TokenStream(codes, stream.frames, (levels,), stream.frame_rate)
        return Encoded(Tokens((cut,)), encoded.lengths, encoded.sample_rate, encoded.channels)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        assert isinstance(decoder_input.payload, Tokens)
        stream = decoder_input.payload.streams[0]
        samples = stream.codes.float() / (stream.codebook_sizes[0] - 1) * 2 - 1
        return AudioBatch(samples, decoder_input.lengths, decoder_input.sample_rate)


class InPool(Quantizer):
    """The same in a worker process."""

    runs_on = RunsOn.POOL


class Raises(Quantizer):
    """Raises while it decodes."""

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        raise RuntimeError("out of luck")


class NotFinite(Quantizer):
    """Decodes the first clip of a batch to NaN."""

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        audio = super().decode(decoder_input)
        audio.samples[0, 0, 5] = float("nan")
        return audio


class WrongLength(Quantizer):
    """Loses ten samples."""

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        audio = super().decode(decoder_input)
        return AudioBatch(audio.samples[..., :-10], audio.lengths - 10, audio.sample_rate)


class Mutates(Quantizer):
    """Silences what it was given to encode."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        encoded = super().encode(audio, point)
        audio.samples.zero_()
        return encoded


class SmallMemory(Quantizer):
    """Runs out of device memory with more than two clips."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if audio.clips > 2:
            raise torch.cuda.OutOfMemoryError("injected")
        return super().encode(audio, point)


class Dies(InPool):
    """Ends its process at the lower point."""

    nested = False

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if point.name == "2bit":
            os._exit(9)
        return super().encode(audio, point)


class Hangs(InPool):
    """Never answers at the lower point."""

    nested = False

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if point.name == "2bit":
            time.sleep(600)
        return super().encode(audio, point)


class Implausible(Quantizer):
    """Finds fault with its own weights."""

    def self_check(self) -> list[str]:
        return ["PESQ of a speech clip is 1.1 with all codebooks"]


class Picky(Quantizer):
    """Refuses a batch that holds a loud clip."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if float(audio.samples.abs().max()) > 0.9:
            raise ValueError("too loud")
        return super().encode(audio, point)


class Boastful(Quantizer):
    """States twice the length that it encoded, which would halve its rate."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        encoded = super().encode(audio, point)
        return replace(encoded, lengths=2 * encoded.lengths)


class FewerEntries(Quantizer):
    """Says that its codebooks are half as large as they are."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        encoded = super().encode(audio, point)
        assert isinstance(encoded.payload, Tokens)
        (stream,) = encoded.payload.streams
        smaller = replace(stream, codebook_sizes=(stream.codebook_sizes[0] // 2,))
        return replace(encoded, payload=Tokens((smaller,)))


class FewerFrames(Quantizer):
    """Counts every other frame alone."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        encoded = super().encode(audio, point)
        assert isinstance(encoded.payload, Tokens)
        (stream,) = encoded.payload.streams
        return replace(encoded, payload=Tokens((replace(stream, frames=stream.frames // 2),)))


class WrongHeadline(Quantizer):
    """Names a rate that its payload has not."""

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        super().__init__(points=points)
        self.info = replace(self.info, headline=RateKind.PAYLOAD)


class Exits(InPool):
    """Calls sys.exit in a worker."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        sys.exit(3)


class Silent(Quantizer):
    """Decodes to silence."""

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        audio = super().decode(decoder_input)
        return replace(audio, samples=torch.zeros_like(audio.samples))


class Loud(Quantizer):
    """Decodes beyond full scale."""

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        audio = super().decode(decoder_input)
        return replace(audio, samples=4 * audio.samples)


class DiesAtFirst(InPool):
    """Ends its process the first `times` that it encodes, which the file `mark` counts."""

    def __init__(
        self, *, mark: str, times: int, points: Sequence[float | str] | None = None
    ) -> None:
        super().__init__(points=points)
        self.mark, self.times = Path(mark), times

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        died = self.mark.read_text() if self.mark.exists() else ""
        if len(died) < self.times:
            self.mark.write_text(died + "x")
            os._exit(9)
        return super().encode(audio, point)


class DiesOnDevice(DiesAtFirst):
    """The same as a model codec."""

    runs_on = RunsOn.DEVICE


class AloneAtFirst(Quantizer):
    """Refuses batches at the lower point; `mark` lists the clips of every decoding at the other."""

    nested = False

    def __init__(self, *, mark: str, points: Sequence[float | str] | None = None) -> None:
        super().__init__(points=points)
        self.mark = Path(mark)

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if point.name == "2bit" and audio.clips > 1:
            raise ValueError("one at a time")
        return super().encode(audio, point)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        assert isinstance(decoder_input.payload, Tokens)
        if decoder_input.payload.streams[0].codebook_sizes[0] == SIZE:
            with self.mark.open("a") as file:
                file.write(f"{len(decoder_input.lengths)} ")
        return super().decode(decoder_input)


class Counted(Quantizer):
    """Adds a letter to the file `FAKES_MARK` of the environment for every clip that it decodes."""

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        with Path(os.environ["FAKES_MARK"]).open("a") as file:
            file.write("x" * len(decoder_input.lengths))
        return super().decode(decoder_input)


class CountedInPool(Counted):
    """The same in a worker process."""

    runs_on = RunsOn.POOL


class FromFile(Counted):
    """Needs a file, whose content is how many bits the upper point has."""

    def __init__(self, *, weights: str, points: Sequence[float | str] | None = None) -> None:
        if not Path(weights).exists():
            raise WeightsError(f"there are no weights in {weights}; give the path of a checkpoint")
        super().__init__(points=points, bits=int(Path(weights).read_text()))


class Tallied(Counted):
    """Marks every clip that it encodes, too."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        with Path(os.environ["FAKES_MARK"]).open("a") as file:
            file.write("e" * audio.clips)
        return super().encode(audio, point)


class TalliedInPool(Tallied):
    """The same in a worker process."""

    runs_on = RunsOn.POOL


class RaisesInEncode(Quantizer):
    """Raises while it encodes."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        raise RuntimeError("no luck at all")


class PacketsForTokens(Quantizer):
    """Names the rate of tokens as its headline and makes packets."""

    nested = False

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        encoded = super().encode(audio, point)
        packets = PacketStream((b"packet",), 0, 0, 0.0)
        return replace(encoded, payload=Packets((packets,) * audio.clips))


class SlowToBuild(InPool):
    """Takes seconds to build, in processes that were started for it."""

    def __init__(self, *, seconds: float, points: Sequence[float | str] | None = None) -> None:
        super().__init__(points=points)
        if multiprocessing.parent_process() is not None:
            time.sleep(seconds)


class HangsOnDevice(Hangs):
    """Never answers at the lower point, as a model codec."""

    runs_on = RunsOn.DEVICE


class OfDevices(Quantizer):
    """Something that happens on `device` alone."""

    def __init__(self, *, device: str, points: Sequence[float | str] | None = None) -> None:
        super().__init__(points=points)
        self.device = device
        self.here = False

    def to(self, device: torch.device | str) -> Codec:
        self.here = str(device) == self.device
        return self


class DiesOn(OfDevices):
    """Ends its process."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if self.here:
            os._exit(9)
        return super().encode(audio, point)


class RefusedBy(OfDevices):
    """Cannot be moved there."""

    def to(self, device: torch.device | str) -> Codec:
        if str(device) == self.device:
            raise RuntimeError("no room on the device")
        return super().to(device)


class DiesWhenMovedTo(OfDevices):
    """Takes its process along when it is moved there; the one that plans moves nothing."""

    def to(self, device: torch.device | str) -> Codec:
        if str(device) == self.device:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().to(device)


class SlowOn(OfDevices):
    """Takes three seconds to be moved there."""

    def to(self, device: torch.device | str) -> Codec:
        if str(device) == self.device:
            time.sleep(3)
        return super().to(device)


class Late(Quantizer):
    """Decodes `delay` samples late, which need not be whole and which it does not declare."""

    def __init__(self, *, delay: float, points: Sequence[float | str] | None = None) -> None:
        super().__init__(points=points)
        self.delay = delay

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        audio = super().decode(decoder_input)
        time = audio.samples.shape[-1]
        spectrum = torch.fft.rfft(audio.samples.double(), 2 * time)
        turn = torch.exp(-1j * math.pi * self.delay / time * torch.arange(spectrum.shape[-1]))
        late = torch.fft.irfft(spectrum * turn, 2 * time)[..., :time]
        return replace(audio, samples=late.float())
