"""FLAC by FFmpeg's own encoder and decoder: no loss, and a rate that the signal decides.

What is coded are samples of 16 or 24 bits. A reference that was read from a file of as many bits
comes back as it was; one that was resampled has been rounded to them.

Source: RFC 9639.
"""

from __future__ import annotations

from collections.abc import Sequence

from rdbench.codecs import points as points_of
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.packets.ffmpeg import PyAvCodec, choose
from rdbench.types import OperatingPoint


class Flac(PyAvCodec):
    """FLAC; its one point is called "lossless".

    Args:
        points: nothing, or "lossless".
        bits: of each sample, 16 or 24.
        level: of compression, 0 (fastest) to 12 (smallest).

    Raises:
        CodecError: for an option or a point that does not exist.
    """

    title = encoder = decoder = muxer = "flac"

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        bits: int = 16,
        level: int = 8,
    ) -> None:
        choose("flac", "bits", bits, (16, 24))
        choose("flac", "level", level, range(13))
        self.sample_format = "s16" if bits == 16 else "s32"
        self._level = level
        self.points = points_of.resolve("flac", points, [OperatingPoint("lossless", None)])
        self.info = self._make_info(
            "flac",
            sample_rates=(
                8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000,
            ),
            licence="LGPL-2.1-or-later (FFmpeg)",
            citation=CREDITS["flac"].citation,
            details={
                "bits": bits,
                "level": level,
                "container": "flac, with the 8 KiB of padding that its tools leave for tags",
            },
        )  # fmt: skip

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        return 0, {"compression_level": str(self._level)}
