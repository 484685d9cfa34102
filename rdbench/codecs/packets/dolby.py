"""AC-3 and E-AC-3 by FFmpeg's own encoders and decoders.

Their frames of 1536 samples overlap by 256, which is the delay that the encoder declares. A stream
has no header: its frames are the file.

Source: ETSI TS 102 366 (AC-3 and, in Annex E, E-AC-3).
"""

from __future__ import annotations

from collections.abc import Sequence

from rdbench.codecs import points as points_of
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.packets.ffmpeg import PyAvCodec
from rdbench.types import OperatingPoint

DELAY = 256


class _Dolby(PyAvCodec):
    """What both share."""

    sample_format = "fltp"
    tail = DELAY

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        return round(float(point.settings["kbps"]) * 1000), {}

    def _card(self) -> None:
        self.info = self._make_info(
            self.title,
            sample_rates=(32000, 44100, 48000),
            delay=DELAY,
            licence="LGPL-2.1-or-later (FFmpeg)",
            citation=CREDITS[self.title].citation,
            details={
                "container": "none: the frames, one after another",
                "delay_unit": "samples at any rate: the overlap of frames",
            },
        )


class Ac3(_Dolby):
    """AC-3 by FFmpeg's own encoder and decoder.

    Args:
        points: kbps of the standard's table (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224,
            256, 320, 384, 448, 512, 576, 640); None means 64, 96, 128, 192 and 256.

    Raises:
        CodecError: for a point that does not exist.
    """

    title = encoder = decoder = muxer = "ac3"

    RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        available = [OperatingPoint(str(rate), float(rate), {"kbps": rate}) for rate in self.RATES]
        default = ("64", "96", "128", "192", "256")
        self.points = points_of.resolve("ac3", points, available, default)
        self._card()


class Eac3(_Dolby):
    """E-AC-3 by FFmpeg's own encoder, which uses few of its tools, and decoder.

    Args:
        points: kbps from 32 to 640; None means 48, 64, 96, 128 and 192.

    Raises:
        CodecError: for a point that does not exist.
    """

    title = encoder = decoder = muxer = "eac3"

    DEFAULT = (48.0, 64.0, 96.0, 128.0, 192.0)

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        self.points = points_of.continuous("eac3", points, 32, 640, self.DEFAULT)
        self._card()
