"""What codecs through PyAV share: clips through its encoders and decoders, in memory.

One clip, one encoder, one decoder; nothing of a neighbour or of padding can reach it. See
`rdbench.codecs.packets.pyav` for what is counted and which delay is removed.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import check_audio
from rdbench.codecs.packets import pcm
from rdbench.stopwatch import Side, charged_to
from rdbench.types import (
    AudioBatch,
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
    import av

ADAPTER = 1
"""Raised when packets or decoded audio change with the same libraries."""

Samples = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
LAYOUTS = {1: "mono", 2: "stereo"}


class PyAvCodec(Codec):
    """PyAV contexts, packets, delay and length.

    A family states its encoder, decoder, muxer and sample format, and which settings a point means;
    and of an encoder that does not bring out by itself what its delay holds back, how many samples
    of silence behind a clip do so (`tail`).
    """

    title: ClassVar[str]
    encoder: ClassVar[str]
    decoder: ClassVar[str]
    muxer: ClassVar[str]
    sample_format: str
    tail: ClassVar[int] = 0

    @abstractmethod
    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        """Bits per second to ask for (0: none) and the encoder's options.

        Raises CodecError where the point cannot be had at this rate and channel count.
        """

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes each clip by itself; raises CodecError for what the encoder does not take."""
        check_audio(self.info, audio)
        bit_rate, options = self._options(point, audio.sample_rate, audio.channels)
        samples = audio.samples.detach().cpu().numpy()
        streams = tuple(
            self._encode_clip(clip[:, :length], audio.sample_rate, bit_rate, options)
            for clip, length in zip(samples, audio.lengths.tolist(), strict=True)
        )
        return Encoded(Packets(streams), audio.lengths.clone(), audio.sample_rate, audio.channels)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes packets to (clips, channels, time) with the declared delay removed."""
        import torch

        payload = decoder_input.payload
        if not isinstance(payload, Packets):
            raise CodecError(f"{self.info.name} decodes packets, not {type(payload).__name__}")
        lengths = decoder_input.lengths
        longest = int(lengths.max()) if len(lengths) else 0
        shape = (len(lengths), decoder_input.channels, longest)
        samples = torch.zeros(shape, dtype=torch.float32)
        for index, (stream, length) in enumerate(zip(payload.clips, lengths.tolist(), strict=True)):
            clip = self._decode_clip(stream, decoder_input.sample_rate, decoder_input.channels)
            if clip.shape[1] < length:
                raise CodecError(
                    f"{self.info.name}: clip {index} decodes to {clip.shape[1]} samples of "
                    f"{length}; its packets are damaged or incomplete"
                )
            samples[index, :, :length] = torch.from_numpy(clip[:, :length])
        return AudioBatch(samples, lengths.clone(), decoder_input.sample_rate)

    def _encode_clip(
        self, samples: Samples, sample_rate: int, bit_rate: int, options: Mapping[str, str]
    ) -> PacketStream:
        import av

        file = io.BytesIO()
        try:
            with av.open(file, "w", format=self.muxer) as container:
                stream = container.add_stream(self.encoder, rate=sample_rate, options=dict(options))
                context = stream.codec_context
                context.layout = LAYOUTS[len(samples)]
                context.format = self.sample_format
                context.thread_count = 1
                if bit_rate:
                    context.bit_rate = bit_rate
                packets = list(stream.encode(self._frame(samples, sample_rate)))
                packets += stream.encode(None)
                # FLAC's last one is empty: it brings the container what the header could not know.
                data = tuple(bytes(packet) for packet in packets if packet.size)
                delay = self._delay(packets[0], sample_rate)
                header = bytes(context.extradata or b"")
                with charged_to(Side.NOBODY):  # the file is there to be weighed, not to be sent
                    container.mux(packets)
        except (av.error.FFmpegError, ValueError) as error:
            raise CodecError(f"{self.info.name}: FFmpeg cannot encode this: {error}") from error
        return PacketStream(data, header, len(file.getvalue()), {"delay": delay})

    def _delay(self, first: av.Packet, sample_rate: int) -> int:
        """Samples before the clip's first: the first packet's time stamp is that far below zero."""
        if first.pts is None or first.time_base is None:
            raise ValueError("the encoder's first packet has no time stamp")
        return round(float(-first.pts * first.time_base * sample_rate))

    def _frame(self, samples: Samples, sample_rate: int) -> av.AudioFrame:
        """One frame with the whole clip; PyAV cuts it to the encoder's frame size."""
        from fractions import Fraction

        import av

        planar = av.AudioFormat(self.sample_format).is_planar
        whole = _whole(np.pad(samples, ((0, 0), (0, self.tail))), self.sample_format)
        data = whole if planar else whole.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(data), format=self.sample_format, layout=LAYOUTS[len(samples)]
        )
        frame.sample_rate = sample_rate
        frame.time_base = Fraction(1, sample_rate)
        frame.pts = 0
        return frame

    def _decode_clip(self, stream: PacketStream, sample_rate: int, channels: int) -> Samples:
        decoded = self._decode_packets(stream.packets, stream.header, sample_rate, channels)
        return decoded[:, stream.details["delay"] :]

    def _decode_packets(
        self, packets: Sequence[bytes], header: bytes, sample_rate: int, channels: int
    ) -> Samples:
        """All samples (channels, time) that the decoder makes of `packets`."""
        import av

        context = av.CodecContext.create(self.decoder, "r")
        if header:
            context.extradata = header
        context.sample_rate = sample_rate
        context.layout = LAYOUTS[channels]
        context.thread_count = 1
        context.options = {"request_sample_fmt": "flt"}
        frames = []
        try:
            for packet in packets:
                frames += context.decode(av.Packet(packet))
            frames += context.decode(None)
        except (av.error.FFmpegError, ValueError) as error:
            raise CodecError(f"{self.info.name}: FFmpeg cannot decode this: {error}") from error
        if not frames:
            return np.zeros((channels, 0), dtype=np.float32)
        return np.concatenate([_planes(frame, channels) for frame in frames], axis=1)

    def _make_info(self, name: str, **fields: Any) -> CodecInfo:
        return CodecInfo(
            name=name,
            family="traditional",
            headline=RateKind.PAYLOAD,
            runs_on=RunsOn.POOL,
            version=f"{self._version()}, adapter {ADAPTER}",
            **({"channels": (1, 2)} | fields),
        )

    def _version(self) -> str:
        """Of what encodes and decodes; raises CodecError where it is not there."""
        return version_of(self.title, encoder=self.encoder, decoder=self.decoder)


def _planes(frame: av.AudioFrame, channels: int) -> Samples:
    """A decoded frame as float32 (channels, time), full scale at ±1."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    if np.issubdtype(data.dtype, np.integer):
        data = data / float(-np.iinfo(data.dtype).min)
    samples: Samples = data.astype(np.float32)
    return samples


def _whole(samples: Samples, sample_format: str) -> np.ndarray[Any, Any]:
    """Samples as an encoder of `sample_format` takes them; of s32 it codes the upper 24 bits."""
    if sample_format.startswith("s16"):
        return pcm.to_whole(samples, 16).astype(np.int16)
    if sample_format.startswith("s32"):
        return pcm.to_whole(samples, 24) << 8
    return samples


def version_of(title: str, *, encoder: str = "", decoder: str) -> str:
    """PyAV's and FFmpeg's versions, and the file of an external codec library where one shows.

    Also raises CodecError where this build of PyAV has no such encoder or decoder. Wheels of PyAV
    carry their libraries under names that hold a hash of the content.
    """
    import av

    for name, mode in ((encoder, "w"), (decoder, "r")):
        try:
            if name:
                av.Codec(name, mode)
        except (av.error.FFmpegError, ValueError) as error:
            raise CodecError(
                f"{title}: this build of PyAV lacks {name!r}; install the wheel of `av` from the "
                "package index"
            ) from error
    lavc = ".".join(str(part) for part in av.library_versions["libavcodec"])
    parts = [f"av {av.__version__}", f"libavcodec {lavc}"]
    wheel_libraries = Path(av.__file__).parent.parent / "av.libs"
    for name in sorted({encoder, decoder} - {""}):
        parts += sorted(
            path.name for path in wheel_libraries.glob(f"{_LIBRARIES.get(name, name)}-*")
        )
    return ", ".join(parts)


_LIBRARIES = {"libopencore_amrnb": "libopencore-amrnb"}
"""What files of libraries are called, where it is not as their codecs are."""


def layout_name(channels: int) -> str:
    """What messages call a number of channels."""
    return LAYOUTS.get(channels, f"{channels} channels")


def choose(codec: str, option: str, value: Any, allowed: Any) -> None:
    """Raises CodecError for an option that is none of those allowed."""
    if isinstance(value, bool) or value not in allowed:
        known = ", ".join(str(item) for item in allowed)
        raise CodecError(f"{codec}: {option} must be one of {known}, not {value!r}")
