"""Opus, MP3 and AAC-LC through PyAV: the encoders and decoders of FFmpeg's libraries, in memory.

Clips are encoded one by one, each at its true length, so a batch gives what a clip alone gives.
The payload is the encoder's packets; the container is the size of the whole file that FFmpeg's
muxer writes from the same packets (Ogg, MP3, MP4). Decoding uses the packets and the codec's set-up
data alone, never the file.

Every one of these codecs starts its stream with samples that are not in the clip (Opus: pre-skip;
MP3: 576 samples of the encoder and 529 of the decoder; AAC: one frame of priming). The encoder
declares how many, `PacketStream.details["delay"]` carries the number in samples at the clip's rate
(as the container does), and `decode` removes exactly that many, then cuts to the clip's length.
After that, MP3 and AAC are aligned with the reference to the sample on most clips. Opus is in its
CELT mode; its SILK and hybrid modes keep a residue that no header declares, −3 to +4 samples at 48
kHz by mode on two clips (`info.details` says so): it is the resamplers of SILK, which every Opus
decoder has, and it is measured and reported rather than removed. Clips of loud bass have more
(docs/protocol.md has the extremes).

Sources: RFC 6716 and RFC 7845 (Opus, pre-skip), ISO/IEC 11172-3 and 13818-3 (MPEG-1 and -2 audio),
ISO/IEC 14496-3 (AAC), FFmpeg's codec documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import ClassVar

from rdbench.codecs import points as points_of
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.packets.ffmpeg import PyAvCodec, Samples, choose, layout_name
from rdbench.types import CodecError, OperatingPoint, PacketStream

QSCALE = 118  # FFmpeg's FF_QP2LAMBDA: what `-q:a` is multiplied with
OPUS_DECODER_RATE = 48_000


class Opus(PyAvCodec):
    """Opus by libopus, encoder and decoder, in Ogg.

    Args:
        points: kbps from 6 to 512 (mono: to 256); None means 6, 9, 12, 16, 24, 32, 48, 64, 96
            and 128.
        mode: "vbr"; "cvbr", VBR constrained to the bit reservoir of one frame; or "cbr".
        application: "audio", "voip" or "lowdelay", as libopus defines them.
        frame_duration: milliseconds: 2.5, 5, 10, 20, 40 or 60.
        complexity: 0 to 10.

    The decoder runs at 48 kHz, as Ogg Opus prescribes, and `rdbench.audio.resample` brings its
    output to the clip's rate, which is no cost of the codec. At low rates libopus codes stereo as
    mono by itself.

    Raises:
        CodecError: for an option or a point that does not exist.
    """

    title = "opus"
    encoder = "libopus"
    decoder = "libopus"
    muxer = "ogg"
    sample_format = "flt"

    DEFAULT = (6.0, 9.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)
    VBR: ClassVar[Mapping[str, str]] = {"vbr": "on", "cvbr": "constrained", "cbr": "off"}

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        mode: str = "vbr",
        application: str = "audio",
        frame_duration: float = 20,
        complexity: int = 10,
    ) -> None:
        choose("opus", "mode", mode, self.VBR)
        choose("opus", "application", application, ("audio", "voip", "lowdelay"))
        choose("opus", "frame_duration", frame_duration, (2.5, 5, 10, 20, 40, 60))
        choose("opus", "complexity", complexity, range(11))
        self.points = points_of.continuous("opus", points, 6, 512, self.DEFAULT)
        self._settings = {
            "vbr": self.VBR[mode],
            "application": application,
            "frame_duration": f"{frame_duration:g}",
            "compression_level": str(complexity),
        }
        self.info = self._make_info(
            "opus",
            sample_rates=(8000, 12000, 16000, 24000, 48000),
            frame_rate=1000 / frame_duration,
            delay=120 if application == "lowdelay" else 312,
            licence="BSD-3-Clause (libopus)",
            citation=CREDITS["opus"].citation,
            details={
                "mode": mode,
                "application": application,
                "frame_duration": frame_duration,
                "complexity": complexity,
                "container": "ogg",
                "delay_unit": "samples at 48 kHz (pre-skip)",
                "residual_delay": "CELT 0; SILK and hybrid −3 to +4 samples at 48 kHz",
            },
        )

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        kbps = float(point.settings["kbps"])
        if kbps > 256 * channels:
            raise CodecError(
                f"opus does not take {kbps:g} kbps for {layout_name(channels)}; it takes 6 to "
                f"{256 * channels} kbps"
            )
        return round(kbps * 1000), dict(self._settings)

    def _decode_clip(self, stream: PacketStream, sample_rate: int, channels: int) -> Samples:
        import torch

        from rdbench.audio.resample import resample
        from rdbench.stopwatch import Side, charged_to

        # With a pre-skip of 0 the decoder gives every sample, whichever FFmpeg strips by itself;
        # resampling before the cut leaves the filter real samples to the left of the clip.
        pre_skip = struct.unpack_from("<H", stream.header, 10)[0]
        header = stream.header[:10] + b"\0\0" + stream.header[12:]
        decoded = self._decode_packets(stream.packets, header, OPUS_DECODER_RATE, channels)
        with charged_to(Side.NOBODY):
            whole = resample(torch.from_numpy(decoded), OPUS_DECODER_RATE, sample_rate).numpy()
        samples: Samples = whole[:, pre_skip * sample_rate // OPUS_DECODER_RATE :]
        return samples


class Mp3(PyAvCodec):
    """MP3 by LAME, decoded by FFmpeg.

    Args:
        points: kbps of the standard's table (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144,
            160, 192, 224, 256, 320): 32 to 320 at 32 kHz and above, 8 to 160 from 16 to 24 kHz, 8
            to 64 below. With `mode="vbr"` LAME's qualities, "V9" (smallest) to "V0", whose
            `target_kbps` are LAME's figures for stereo at 44.1 kHz. None means 32, 48, 64, 96 and
            128, or V9, V7, V5, V4, V2 and V0.
        mode: "cbr", "abr" (average rate) or "vbr".
        quality: LAME's search, 0 (best, slowest) to 9.
        joint_stereo: whether frames may code mid and side.

    FFmpeg's muxer writes LAME's information frame (Xing tag) into the file, not into the packets:
    it is counted in the container alone.

    Raises:
        CodecError: for an option or a point that does not exist.
    """

    title = "mp3"
    encoder = "libmp3lame"
    decoder = "mp3float"
    muxer = "mp3"
    sample_format = "fltp"

    MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    MPEG25 = (8, 16, 24, 32, 40, 48, 56, 64)
    QUALITIES = (245, 225, 190, 175, 165, 130, 115, 100, 85, 65)  # V0 … V9

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        mode: str = "cbr",
        quality: int = 2,
        joint_stereo: bool = True,
    ) -> None:
        choose("mp3", "mode", mode, ("cbr", "abr", "vbr"))
        choose("mp3", "quality", quality, range(10))
        self._mode = mode
        self._settings = {
            "compression_level": str(quality),
            "joint_stereo": str(int(bool(joint_stereo))),
            "abr": str(int(mode == "abr")),
        }
        default = ("V9", "V7", "V5", "V4", "V2", "V0") if mode == "vbr" else _DEFAULT_MP3
        self.points = points_of.resolve("mp3", points, self._available(), default)
        self.info = self._make_info(
            "mp3",
            sample_rates=(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
            delay=1105,
            licence="LGPL-2.0-or-later (LAME)",
            citation=CREDITS["mp3"].citation,
            details={
                "mode": mode,
                "quality": quality,
                "joint_stereo": bool(joint_stereo),
                "container": "mp3 (ID3v2 and Xing tags)",
                "delay_unit": "samples at any rate: 576 of the encoder, 529 of the decoder",
            },
        )

    def _available(self) -> list[OperatingPoint]:
        if self._mode == "vbr":
            return [
                OperatingPoint(f"V{v}", float(kbps), {"quality": v})
                for v, kbps in enumerate(self.QUALITIES)
            ]
        return [
            OperatingPoint(str(kbps), float(kbps), {"kbps": kbps})
            for kbps in sorted({*self.MPEG1, *self.MPEG2})
        ]

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        if self._mode == "vbr":
            return 0, {**self._settings, **_constant_quality(point.settings["quality"])}
        kbps = int(point.settings["kbps"])
        allowed = self._allowed(sample_rate)
        if kbps not in allowed:
            raise CodecError(
                f"mp3 does not take {kbps} kbps at {sample_rate} Hz; "
                f"it takes {', '.join(map(str, allowed))}"
            )
        return kbps * 1000, dict(self._settings)

    def _allowed(self, sample_rate: int) -> tuple[int, ...]:
        if sample_rate >= 32000:
            return self.MPEG1
        return self.MPEG2 if sample_rate >= 16000 else self.MPEG25


_DEFAULT_MP3 = ("32", "48", "64", "96", "128")


class Aac(PyAvCodec):
    """AAC-LC by FFmpeg's own encoder and decoder, in MP4 (whose edit list declares the priming).

    Args:
        points: kbps from 6 up to 6144 bits per channel and frame of 1024 samples (96 at 16 kHz
            mono, 529 at 44.1 kHz stereo). The encoder does not go below some 10 kbps for mono at
            16 kHz and 23 for stereo at 44.1 kHz whatever is asked for, nor above what its finest
            quantizer uses: measured rates say so. With `mode="vbr"` "q0.1", "q0.2", "q0.3",
            "q0.5", "q1" or "q2" (FFmpeg's `-q:a`, which it calls experimental), whose
            `target_kbps` are rough figures for stereo at 44.1 kHz. None means 16, 24, 32, 48, 64
            and 96, or all of the q.
        mode: "cbr" (FFmpeg's rate control around a constant rate) or "vbr".
        coder: the search for quantizers, "twoloop" or "fast".

    Raises:
        CodecError: for an option or a point that does not exist.
    """

    title = "aac"
    encoder = "aac"
    decoder = "aac"
    muxer = "mp4"
    sample_format = "fltp"

    DEFAULT = (16.0, 24.0, 32.0, 48.0, 64.0, 96.0)
    QUALITIES: ClassVar[Mapping[float, float]] = {
        0.1: 24, 0.2: 36, 0.3: 60, 0.5: 110, 1: 180, 2: 300,
    }  # fmt: skip

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        mode: str = "cbr",
        coder: str = "twoloop",
    ) -> None:
        choose("aac", "mode", mode, ("cbr", "vbr"))
        choose("aac", "coder", coder, ("twoloop", "fast"))
        self._mode = mode
        self._settings = {"profile": "aac_low", "aac_coder": coder}
        if mode == "vbr":
            qualities = [
                OperatingPoint(f"q{q:g}", float(kbps), {"quality": q})
                for q, kbps in self.QUALITIES.items()
            ]
            self.points = points_of.resolve("aac", points, qualities)
        else:
            self.points = points_of.continuous("aac", points, 6, 1024, self.DEFAULT)
        self.info = self._make_info(
            "aac",
            sample_rates=_AAC_RATES,
            delay=1024,
            licence="LGPL-2.1-or-later (FFmpeg)",
            citation=CREDITS["aac"].citation,
            details={
                "mode": mode,
                "coder": coder,
                "profile": "LC",
                "container": "mp4",
                "delay_unit": "samples at any rate: one frame of priming",
            },
        )

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        if self._mode == "vbr":
            return 0, {**self._settings, **_constant_quality(point.settings["quality"])}
        kbps = float(point.settings["kbps"])
        limit = 6144 * channels * sample_rate // 1024
        if kbps * 1000 > limit:
            raise CodecError(
                f"aac does not take {kbps:g} kbps for {layout_name(channels)} at {sample_rate} Hz; "
                f"it takes 6 to {limit // 1000} kbps"
            )
        return round(kbps * 1000), dict(self._settings)


_AAC_RATES = (
    7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000,
)  # fmt: skip


def _constant_quality(quality: float) -> dict[str, str]:
    """What the command line's `-q:a` means to an encoder."""
    return {"flags": "+qscale", "global_quality": str(round(quality * QSCALE))}
