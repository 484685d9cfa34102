"""Speech codecs of telephony through PyAV: AMR-NB and G.722, mono and at one rate each.

Frames of AMR are counted as its files and its octet-aligned packets have them: one octet of header
and the bits of the frame in whole octets, so that 12.2 kbps take 12.8.

Sources: 3GPP TS 26.071, 26.090 and 26.101, RFC 4867 (AMR); ITU-T G.722.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.codecs import points as points_of
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.packets.ffmpeg import PyAvCodec
from rdbench.types import OperatingPoint

if TYPE_CHECKING:
    import av


class AmrNb(PyAvCodec):
    """AMR narrow-band by OpenCORE, encoder and decoder, without discontinuous transmission.

    Args:
        points: kbps of its modes, 4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2 and 12.2; None means 4.75,
            5.9, 7.4 and 12.2.

    Raises:
        CodecError: for a point that does not exist.
    """

    title = "amr_nb"
    encoder = decoder = "libopencore_amrnb"
    muxer = "amr"
    sample_format = "s16"

    LOOK_AHEAD = 40
    MODES = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        available = [OperatingPoint(f"{mode:g}", mode, {"kbps": mode}) for mode in self.MODES]
        default = ("4.75", "5.9", "7.4", "12.2")
        self.points = points_of.resolve("amr_nb", points, available, default)
        self.info = self._make_info(
            "amr_nb",
            sample_rates=(8000,),
            channels=(1,),
            frame_rate=50.0,
            delay=self.LOOK_AHEAD,
            licence="Apache-2.0 (OpenCORE)",
            citation=CREDITS["amr_nb"].citation,
            details={
                "container": "amr",
                "payload": "with one octet of header for each frame, in whole octets",
                "delay_unit": "samples at 8 kHz: the look-ahead of 5 ms",
                "residual_delay": "mostly −1 sample, on speech −4 to 0: its filters",
            },
        )

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        return round(float(point.settings["kbps"]) * 1000), {"dtx": "0"}

    def _delay(self, first: av.Packet, sample_rate: int) -> int:
        """That of the standard: FFmpeg states 50 samples, of which 10 are not there."""
        return self.LOOK_AHEAD


class G722(PyAvCodec):
    """G.722 by FFmpeg's own encoder and decoder, at 64 kbps: sub-band ADPCM, one octet for two
    samples.

    Raises:
        CodecError: for another point.
    """

    title = encoder = decoder = muxer = "g722"
    sample_format = "s16"
    tail = 22

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        self.points = points_of.resolve("g722", points, [OperatingPoint("64", 64.0)])
        self.info = self._make_info(
            "g722",
            sample_rates=(16000,),
            channels=(1,),
            delay=22,
            licence="LGPL-2.1-or-later (FFmpeg)",
            citation=CREDITS["g722"].citation,
            details={
                "container": "none: the octets, one after another",
                "delay_unit": "samples at 16 kHz: the filters of both bands",
            },
        )

    def _options(
        self, point: OperatingPoint, sample_rate: int, channels: int
    ) -> tuple[int, dict[str, str]]:
        return 0, {}
