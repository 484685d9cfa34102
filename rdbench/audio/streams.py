"""Legal streams that libsndfile reads wrongly: FLAC of unknown length, and chained Ogg.

A FLAC that was written to a pipe has 0 samples in its header, since its encoder could not go back
to it. Its length follows from its last frame, whose header counts frames or samples and which ends
with a checksum; libsndfile is given the file with that length in its header.

An Ogg file may hold several streams one after another (internet radio, `cat`). Of these libsndfile
reads the first, as if there were no others: they are refused.

FLAC: RFC 9639. Ogg: RFC 3533.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, cast

from rdbench.types import AudioError

_BLOCK = 4 * 2**20
_LARGEST_FRAME = 2_200_000  # bytes: 65,535 samples of 8 channels at 32 bits, and its headers
_LONGEST_HEADER = 16  # bytes of a frame
_TRIES = 8  # what looks like the last frame's header is that, as good as always
_ID3, _ID3_HEADER, _ID3_TAIL = b"ID3", 10, 128
_FLAC_HEADER = 26  # "fLaC", a block's header, and STREAMINFO up to the count of samples
_PAGE, _FIRST_PAGE, _PAGE_HEADER = b"OggS\0", 2, 27
_FIXED_SIZES = {1: 192, **{n: 576 << (n - 2) for n in range(2, 6)}} | {
    n: 256 << (n - 8) for n in range(8, 16)
}
_SIZE_BYTES, _RATE_BYTES = {6: 1, 7: 2}, {12: 1, 13: 2, 14: 2}


def as_libsndfile_needs(file: BinaryIO, name: str) -> BinaryIO:
    """The file as libsndfile reads all of it; raises AudioError, naming `name`, where it cannot."""
    start = _after_tags(file)
    file.seek(start)
    head = file.read(_FLAC_HEADER)
    file.seek(0)
    if head.startswith(_PAGE):
        _refuse_chained(file, name)
        file.seek(0)
    elif head[:4] == b"fLaC" and len(head) == _FLAC_HEADER and _samples(head) == 0:
        count = _flac_length(file, head, start, name)
        counted = ((head[21] & 0xF0) << 32 | count).to_bytes(5, "big")
        return cast("BinaryIO", _Patched(file, start + 21, counted))
    return file


class _Patched(io.RawIOBase):
    """A file of which some bytes are others."""

    def __init__(self, file: BinaryIO, place: int, content: bytes) -> None:
        self._file = file
        self._patch = range(place, place + len(content))
        self._content = content
        file.seek(0)

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer`; 0 at the end."""
        target = memoryview(buffer).cast("B")
        start = self._file.tell()
        found = self._file.read(len(target))
        target[: len(found)] = found
        for place in self._patch:
            if start <= place < start + len(found):
                target[place - start] = self._content[place - self._patch.start]
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the file stands."""
        return self._file.tell()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True


def _after_tags(file: BinaryIO) -> int:
    """Where a file begins behind the tags of other formats (ID3v2)."""
    file.seek(0)
    head = file.read(_ID3_HEADER)
    if len(head) < _ID3_HEADER or head[:3] != _ID3:
        return 0
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER + size


# -- Ogg


def _refuse_chained(file: BinaryIO, name: str) -> None:
    """Raises where a stream begins behind the first pages, with which all of one link begin."""
    place = _behind_first_pages(file)
    file.seek(place)
    kept = b""
    while block := file.read(_BLOCK):
        text = kept + block
        found = text.find(_PAGE)
        while found >= 0:
            if text[found + len(_PAGE) : found + len(_PAGE) + 1] and (
                text[found + len(_PAGE)] & _FIRST_PAGE
            ):
                raise AudioError(
                    f"{name} holds several Ogg streams one after another, of which only the first "
                    "would be read; join them into one, or make a file of each"
                )
            found = text.find(_PAGE, found + 1)
        kept = text[-len(_PAGE) :]


def _behind_first_pages(file: BinaryIO) -> int:
    place = 0
    while True:
        file.seek(place)
        head = file.read(_PAGE_HEADER)
        if len(head) < _PAGE_HEADER or head[:5] != _PAGE or not head[5] & _FIRST_PAGE:
            return place
        sizes = file.read(head[26])
        place += _PAGE_HEADER + len(sizes) + sum(sizes)


# -- FLAC


def _samples(head: bytes) -> int:
    """How many samples a FLAC's header counts."""
    return (head[21] & 0x0F) << 32 | int.from_bytes(head[22:26], "big")


def _flac_length(file: BinaryIO, head: bytes, start: int, name: str) -> int:
    """Samples of a FLAC by its last frame; raises AudioError where there is none."""
    end = file.seek(0, os.SEEK_END)
    begin = max(start + _FLAC_HEADER, end - _LARGEST_FRAME)
    file.seek(begin)
    text = file.read(end - begin)
    if text[-_ID3_TAIL:].startswith(b"TAG"):
        text = text[:-_ID3_TAIL]
    size, tries = int.from_bytes(head[10:12], "big"), 0
    place = len(text)
    while tries < _TRIES and (place := text.rfind(b"\xff", 0, place)) >= 0:
        count = _counted(text[place : place + _LONGEST_HEADER], size)
        if count is not None:
            tries += 1
            if _crc(text[place:], _CRC_16) == 0:
                return count
    raise AudioError(
        f"{name} is a FLAC whose header counts no samples, and whose end is no whole frame; "
        "encode it again"
    )


def _counted(frame: bytes, size: int) -> int | None:
    """Samples up to the end of a frame by its header; None for what is no header.

    size: of the blocks of the stream, where all but the last are equal.
    """
    if len(frame) < 6 or frame[0] != 0xFF or frame[1] not in (0xF8, 0xF9) or frame[3] & 1:
        return None
    size_code, rate_code = frame[2] >> 4, frame[2] & 0x0F
    number, place = _number(frame, 4)
    if number is None or size_code == 0 or rate_code == 15 or frame[3] >> 4 > 10:
        return None
    if size_code in _SIZE_BYTES:
        length = _SIZE_BYTES[size_code]
        samples = int.from_bytes(frame[place : place + length], "big") + 1
        place += length
    else:
        samples = _FIXED_SIZES[size_code]
    place += _RATE_BYTES.get(rate_code, 0)
    if place >= len(frame) or _crc(frame[: place + 1], _CRC_8) != 0:
        return None
    return (number if frame[1] & 1 else number * size) + samples


def _number(frame: bytes, place: int) -> tuple[int | None, int]:
    """A number as UTF-8 would code it, up to 36 bits, and what comes behind it."""
    first = frame[place]
    more = 0
    while more < 8 and first & 0x80 >> more:
        more += 1
    if more == 0:
        return first, place + 1
    rest = frame[place + 1 : place + more]
    if more in (1, 8) or len(rest) < more - 1 or any(byte >> 6 != 2 for byte in rest):
        return None, place
    number = first & 0x7F >> more
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, place + more


def _table(polynomial: int, bits: int) -> list[int]:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


_CRC_8, _CRC_16 = (8, _table(0x07, 8)), (16, _table(0x8005, 16))


def _crc(content: bytes, kind: tuple[int, list[int]]) -> int:
    """The checksum of bytes; 0 where they end with their own."""
    bits, table = kind
    value, mask = 0, (1 << bits) - 1
    for byte in content:
        value = (value << 8 & mask) ^ table[value >> bits - 8 ^ byte]
    return value
