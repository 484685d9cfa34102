"""Encoders and decoders that are programs: files in, files out, and the bytes of a file counted.

    encode: [opusenc, --bitrate, "{kbps}", "{input}", "{bitstream}"]
    decode: [opusdec, --rate, "{sample_rate}", "{bitstream}", "{output}"]

Each clip is encoded by itself, at its true length, in a folder of its own, and decoded in another,
where there is the bitstream and nothing else. What of the bitstream is payload a user says
(`rdbench.codecs.packets.framing`). Programs, and arguments that are files, belong to what
the codec is: their hashes are part of its version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import check_audio
from rdbench.codecs.packets import pcm
from rdbench.codecs.packets.command.arguments import (
    Arguments,
    Settings,
    Templates,
    points_from,
    texts_of,
)
from rdbench.codecs.packets.command.program import (
    MOST_BYTES,
    Program,
    hashes,
    own_folder,
)
from rdbench.codecs.packets.framing import Framing, split
from rdbench.files import is_file, read_file
from rdbench.identity import as_one
from rdbench.stopwatch import Side, charged_to
from rdbench.types import (
    AudioBatch,
    AudioError,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    OperatingPoint,
    Packets,
    PacketStream,
    RateKind,
    RunsOn,
)

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when bits or audio of the same programs change."""


class Command(Codec):
    """Two programs, with their arguments as lists; there is no shell.

    Args:
        points: kbps where an argument has `{kbps}` or `{bps}`, or names in `settings`; None means
            all of these.
        encode: the encoder and its arguments, among them `{input}` and `{bitstream}`.
        decode: the decoder and its arguments, among them `{bitstream}` and `{output}`. Both may
            have `{kbps}`, `{bps}` (bits per second), `{sample_rate}`, `{channels}` and what
            `settings` name.
        sample_rate: hertz, one or several, of which the nearest above the clip's is taken; None is
            any.
        channels: one number of channels or several.
        sample_format: of the samples in files: "s16", "s24" or "f32".
        input_format: "wav", or "raw" for samples without a header, interleaved, little-endian.
        output_format: the same of what is decoded.
        output_rate: hertz of what is decoded, where it is not the rate of the input.
        suffix: the ending of the bitstream's name.
        settings: by name of a point, what its placeholders stand for; `kbps` is also the rate that
            its name promises.
        payload: what of the bitstream is payload, "unknown", "raw", "prefixed" or "demuxed".
        header_bytes: of the bitstream, in front of its payload.
        delay: samples, at the rate of what is decoded, by which it is late.
        padding: samples of silence behind each clip that is encoded; None is as many as the delay.
        tolerance_seconds: by how much what is decoded may be longer than its clip with the padding
            (it is cut) or shorter than the clip (it is filled up with zeros).
        time_limit: seconds that each of the two may take for a clip.
        version: a program and arguments; the first line that it says is part of the version.
        licence: of the programs. citation: of the codec.

    Real-time factors include the start of the programs.

    Raises:
        CodecError: for options that do not go together.
        MissingProgramError: for a program that is not there.
    """

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        encode: Arguments,
        decode: Arguments,
        sample_rate: int | list[int] | None = None,
        channels: int | list[int] = 1,
        sample_format: Literal["s16", "s24", "f32"] = "s16",
        input_format: Literal["wav", "raw"] = "wav",
        output_format: Literal["wav", "raw"] = "wav",
        output_rate: int | None = None,
        suffix: str = ".bin",
        settings: Settings | None = None,
        payload: Framing = "unknown",
        header_bytes: int = 0,
        delay: int = 0,
        padding: int | None = None,
        tolerance_seconds: float = 0.05,
        time_limit: float = 60.0,
        version: Arguments | None = None,
        licence: str = "",
        citation: str = "",
    ) -> None:
        self._templates = Templates.of(encode, decode)
        self._formats = (sample_format, input_format, output_format)
        self._output_rate = output_rate
        self._suffix = suffix
        self._framing, self._header_bytes = payload, header_bytes
        self._padding = padding
        self._tolerance = tolerance_seconds
        self._time_limit = time_limit
        _check_numbers(
            header_bytes=(header_bytes, 0, 2**20),
            delay=(delay, 0, 2**20),
            padding=(padding or 0, 0, 2**20),
            tolerance_seconds=(tolerance_seconds, 0, 1),
            time_limit=(time_limit, 0.1, 86_400),
            output_rate=(output_rate or 8000, 8000, 192_000),
        )
        _check_suffix(suffix)
        self.points = points_from(points, settings, self._templates.used)
        self._templates.check(self.points)
        self._encoder, self._decoder = (Program.find(one) for one in self._templates.programs)
        self.opens = hashes(
            [str(self._encoder.path), str(self._decoder.path), *self._templates.at(self.points)]
        )
        said = ""
        if version is not None:
            name, *arguments = texts_of("version", version)
            said = f"{Program.find(name).version(arguments)}, "
        self.info = CodecInfo(
            name="command",
            family="command",
            sample_rates=_ascending("sample_rate", sample_rate),
            channels=_ascending("channels", channels),
            headline=RateKind.CONTAINER if payload == "unknown" else RateKind.PAYLOAD,
            runs_on=RunsOn.POOL,
            delay=delay,
            version=f"{said}programs {as_one(list(self.opens.values()))[:16]}, adapter {ADAPTER}",
            licence=licence,
            citation=citation,
            details={
                "encoder": self._templates.encoder,
                "files": {path.name: held for path, held in self.opens.items()},
                "payload": payload,
                "sample_format": sample_format,
                "padding": padding,
                "tolerance_seconds": tolerance_seconds,
                "delay_unit": "samples at the rate of what is decoded",
                "real_time_factors": "include the start of the programs",
            },
        )

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes each clip in a folder of its own; raises CodecError where a program fails."""
        check_audio(self.info, audio)
        clips = audio.samples.detach().cpu().numpy()
        streams = tuple(
            self._encode_clip(clip[:, :length], audio.sample_rate, point)
            for clip, length in zip(clips, audio.lengths.tolist(), strict=True)
        )
        payload = Packets(streams, told_apart=self._framing != "unknown")
        return Encoded(payload, audio.lengths.clone(), audio.sample_rate, audio.channels)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes bitstreams to (clips, channels, time) without the declared delay."""
        import torch

        payload = decoder_input.payload
        if not isinstance(payload, Packets):
            raise CodecError(f"command decodes bitstreams, not {type(payload).__name__}")
        lengths, channels = decoder_input.lengths, decoder_input.channels
        samples = torch.zeros((len(lengths), channels, int(lengths.max())))
        for index, (stream, length) in enumerate(zip(payload.clips, lengths.tolist(), strict=True)):
            found = self._decode_clip(stream, decoder_input.sample_rate, channels, length)
            samples[index, :, : min(length, found.shape[-1])] = found[:, :length]
        return AudioBatch(samples, lengths.clone(), decoder_input.sample_rate)

    def _encode_clip(
        self, samples: pcm.Samples, sample_rate: int, point: OperatingPoint
    ) -> PacketStream:
        sample_format, input_format, _ = self._formats
        program = self._encoder
        with own_folder() as folder:
            source = folder / f"input.{input_format}"
            bitstream = folder / f"bitstream{self._suffix}"
            with charged_to(Side.NOBODY):
                padded = np.pad(samples, ((0, 0), (0, self._silence(sample_rate))))
                if input_format == "wav":
                    pcm.write_wav(source, padded, sample_rate, sample_format)
                else:
                    pcm.write_raw(source, padded, sample_format)
            files = {"input": source, "bitstream": bitstream}
            values = {**point.settings, "sample_rate": sample_rate, "channels": len(samples)}
            program.run(self._templates.filled("encode", files, values), folder, self._time_limit)
            with charged_to(Side.NOBODY):
                content = _written(bitstream, program, "bitstream")
                try:
                    stream = split(content, self._framing, self._header_bytes)
                except CodecError as error:
                    raise CodecError(
                        f"the bitstream of {program.name} is not as `payload` says: {error}"
                    ) from None
        # A decoder is told of no point, and may have an argument that goes with it.
        return replace(stream, details={"point": self.points.index(point)})

    def _decode_clip(
        self, stream: PacketStream, sample_rate: int, channels: int, length: int
    ) -> torch.Tensor:
        """Float32 (channels, time) at `sample_rate`, within the tolerance of `length`."""
        import torch

        from rdbench.audio.resample import resample

        _, _, output_format = self._formats
        program = self._decoder
        with own_folder() as folder:
            bitstream = folder / f"bitstream{self._suffix}"
            output = folder / f"output.{output_format}"
            with charged_to(Side.NOBODY):
                bitstream.write_bytes(stream.file)
            files = {"bitstream": bitstream, "output": output}
            point = self.points[stream.details["point"]]
            values = {**point.settings, "sample_rate": sample_rate, "channels": channels}
            program.run(self._templates.filled("decode", files, values), folder, self._time_limit)
            with charged_to(Side.NOBODY):
                most = 2 * (length + self._silence(sample_rate)) / sample_rate + 2
                rate = self._output_rate or sample_rate
                decoded = torch.from_numpy(self._read(output, channels, rate, most))
                found = resample(decoded[:, self.info.delay :], rate, sample_rate)
        self._check_length(program, found.shape[-1], length, sample_rate)
        return found

    def _read(self, path: Path, channels: int, rate: int, most_seconds: float) -> pcm.Samples:
        """What was decoded, (channels, time); raises CodecError where it is not as declared."""
        from rdbench.audio.load import read

        name, (sample_format, _, output_format) = self._decoder.name, self._formats
        if output_format == "raw":
            most = round(most_seconds * rate) * channels * 4
            _written(path, self._decoder, "output")
            try:
                return pcm.read_raw(path, channels, sample_format, most)
            except CodecError as error:
                raise CodecError(f"what {name} decoded cannot be used: {error}") from None
        _check_own(path, self._decoder, "output")
        if not is_file(path):
            what = "no regular file as" if path.exists() else "no"
            raise CodecError(f"{name} ended well and wrote {what} {{output}}; mend its arguments")
        try:
            samples, found = read(path, most_seconds=most_seconds)
        except AudioError as error:
            said = str(error).replace(str(path), path.name)
            raise CodecError(f"what {name} decoded cannot be used: {said}") from None
        if found != rate:
            raise CodecError(
                f"{name} decoded to {found} Hz where {rate} Hz are expected; mend its arguments, "
                "or set output_rate"
            )
        if len(samples) != channels:
            raise CodecError(
                f"{name} decoded to {len(samples)} channels of {channels}; mend its arguments"
            )
        decoded: pcm.Samples = samples.numpy()
        return decoded

    def _check_length(self, program: Program, found: int, length: int, sample_rate: int) -> None:
        most = length + self._silence(sample_rate)
        beyond = max(length - found, found - most)
        # At another rate, a length may be rounded up here and down there.
        rounded = 1 + sample_rate / self._output_rate if self._output_rate else 0.0
        if beyond > self._tolerance * sample_rate + rounded:
            less = f" without its delay of {self.info.delay}" if self.info.delay else ""
            raise CodecError(
                f"{program.name} decoded to {found} samples{less}, and the clip has {length}; mend "
                f"delay or padding, or raise tolerance_seconds (now {self._tolerance:g})"
            )

    def _silence(self, sample_rate: int) -> int:
        """Samples of silence behind a clip."""
        if self._padding is not None:
            return self._padding
        return -(-self.info.delay * sample_rate // (self._output_rate or sample_rate))


def _written(path: Path, program: Program, what: str) -> bytes:
    """What a program wrote; raises CodecError for nothing, and for what is no file of its own."""
    _check_own(path, program, what)
    try:
        content = read_file(path, MOST_BYTES)
    except OSError as error:
        reason = "it is not there" if isinstance(error, FileNotFoundError) else error.strerror
        raise CodecError(
            f"{program.name} ended well, and its {{{what}}} cannot be used: {reason}; mend its "
            "arguments"
        ) from None
    if not content:
        raise CodecError(f"{program.name} ended well and wrote 0 bytes; mend its arguments")
    return content


def _check_own(path: Path, program: Program, what: str) -> None:
    """Raises CodecError for a link to what was there before: no decoder would be sent that."""
    folder = path.parent.resolve()
    try:
        inside = not path.is_symlink() or path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):  # links in a circle
        inside = False
    if not inside:
        raise CodecError(
            f"{program.name} ended well, and its {{{what}}} is a link out of its folder; let it "
            "write the file itself"
        )


def _check_numbers(**options: tuple[float, float, float]) -> None:
    """Holds each value between its lowest and its highest."""
    for option, (value, low, high) in options.items():
        if not low <= value <= high:
            raise CodecError(f"command: {option} is {value:g}; give {low:g} to {high:g}")


def _check_suffix(suffix: str) -> None:
    if not re.fullmatch(r"\.?[A-Za-z0-9_.]{0,16}", suffix):
        raise CodecError(f"command: suffix is {suffix!r}; give an ending such as .opus")


def _ascending(option: str, value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    numbers = [value] if isinstance(value, int) else value
    low, high = (1, 8) if option == "channels" else (8000, 192_000)
    if not numbers or any(not low <= number <= high for number in numbers):
        raise CodecError(f"command: {option} is {value!r}; give numbers from {low} to {high}")
    return tuple(sorted({*numbers}))
