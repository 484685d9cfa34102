"""What of a file that an encoder wrote is payload, and what is its container.

`unknown`    the whole file is container, and how much of it is payload nobody says
`raw`        all behind a header of a stated size
`prefixed`   behind that header, packets with 16 bits of length before each, little-endian (as the
             files of LC3's tools are)
`demuxed`    the packets that FFmpeg finds in the file: Ogg, MP4, MP3, FLAC and what else it knows
"""

from __future__ import annotations

import io
from typing import Literal

from rdbench.types import CodecError, PacketStream

Framing = Literal["unknown", "raw", "prefixed", "demuxed"]
_LENGTH_BYTES = 2


def split(content: bytes, framing: Framing, header_bytes: int = 0) -> PacketStream:
    """A file with its packets; none where the framing is unknown.

    Raises CodecError for a file that is not framed so.
    """
    packets: tuple[bytes, ...] = ()
    header = content[:header_bytes]
    if framing == "demuxed":
        packets, header = _demuxed(content)
    elif len(header) < header_bytes:
        raise CodecError(f"{len(content)} bytes are no header of {header_bytes}; mend header_bytes")
    elif framing == "raw":
        packets = (content[header_bytes:],)
    elif framing == "prefixed":
        packets = _prefixed(content[header_bytes:])
    return PacketStream(packets, header, len(content), file=content)


def _prefixed(content: bytes) -> tuple[bytes, ...]:
    packets, place = [], 0
    while place < len(content):
        start = place + _LENGTH_BYTES
        size = int.from_bytes(content[place:start], "little")
        packets.append(content[start : start + size])
        place = start + size
    if place != len(content):
        raise CodecError("its packets do not end where the file does; mend payload or header_bytes")
    return tuple(packets)


def _demuxed(content: bytes) -> tuple[tuple[bytes, ...], bytes]:
    import av

    try:
        with av.open(io.BytesIO(content)) as container:
            if not container.streams.audio:
                raise CodecError("FFmpeg finds no audio in it; set payload to unknown or raw")
            stream = container.streams.audio[0]
            packets = tuple(bytes(packet) for packet in container.demux(stream) if packet.size)
            return packets, bytes(stream.codec_context.extradata or b"")
    except (av.error.FFmpegError, ValueError) as error:
        raise CodecError(
            f"FFmpeg does not know its container ({error}); set payload to unknown or raw"
        ) from None
