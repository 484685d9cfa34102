"""Vorbis by libvorbis, which libsndfile brings, in Ogg; decoded by FFmpeg from the packets.

FFmpeg has an encoder of its own, which it calls experimental, takes stereo alone and spends nearly
three times the rate that it is asked for; it is not used here. Vorbis has no delay: its first block
gives no samples. The set-up header (3 to 4 kB of codebooks) is counted in the container alone, as
that of other codecs is, though for short clips it is a large part of a file.

Source: Xiph.Org Foundation, Vorbis I specification.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from rdbench.codecs import points as points_of
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.packets.ffmpeg import PyAvCodec, Samples, version_of
from rdbench.codecs.packets.framing import split
from rdbench.types import CodecError, OperatingPoint, PacketStream

_BLOCK = 1024  # as oggenc does: the first packets depend on how many samples come at once


class Vorbis(PyAvCodec):
    """Vorbis by libvorbis, at the qualities of its tools.

    Args:
        points: "q0" (smallest) to "q10", whose `target_kbps` are libvorbis's figures for stereo at
            44.1 kHz. None means q0, q2, q4, q6 and q8.

    Raises:
        CodecError: for a point that does not exist.
    """

    title = "vorbis"
    encoder = "libvorbis of libsndfile"
    decoder = "vorbis"
    muxer = "ogg"
    sample_format = "flt"

    QUALITIES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)  # q0 … q10

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        available = [
            OperatingPoint(f"q{quality}", float(kbps), {"quality": quality})
            for quality, kbps in enumerate(self.QUALITIES)
        ]
        default = ("q0", "q2", "q4", "q6", "q8")
        self.points = points_of.resolve("vorbis", points, available, default)
        self.info = self._make_info(
            "vorbis",
            sample_rates=(8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000),
            licence="BSD-3-Clause (libvorbis)",
            citation=CREDITS["vorbis"].citation,
            details={"mode": "vbr", "container": "ogg"},
        )

    def _version(self) -> str:
        """The encoder names itself in the comments of what it writes."""
        import soundfile

        header = self._written(np.zeros((1, 1024), np.float32), 8000, 0).header
        place = header.find(b"Xiph.Org")
        length = int.from_bytes(header[place - 4 : place], "little") if place >= 4 else 0
        named = header[place : place + length].decode(errors="replace") or "libvorbis"
        library = f"libsndfile {soundfile.__libsndfile_version__}"
        return f"{library}, {named}, {version_of(self.title, decoder=self.decoder)}"

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        return 0, {"quality": str(point.settings["quality"])}

    def _encode_clip(
        self, samples: Samples, sample_rate: int, bit_rate: int, options: Mapping[str, str]
    ) -> PacketStream:
        return self._written(samples, sample_rate, int(options["quality"]))

    def _written(self, samples: Samples, sample_rate: int, quality: int) -> PacketStream:
        import soundfile

        file = io.BytesIO()
        try:
            with soundfile.SoundFile(
                file, "w", sample_rate, len(samples), "VORBIS", format="OGG",
                compression_level=1 - quality / 10,
            ) as writer:  # fmt: skip
                for start in range(0, samples.shape[1], _BLOCK):
                    writer.write(np.ascontiguousarray(samples[:, start : start + _BLOCK].T))
        except (soundfile.SoundFileError, ValueError) as error:
            raise CodecError(f"vorbis: libsndfile cannot encode this: {error}") from error
        found = split(file.getvalue(), "demuxed")
        return PacketStream(found.packets, found.header, found.container_bytes, {"delay": 0})
