"""Unpacks archives that may be anybody's: regular files alone, below one folder, up to a bound.

A name that leads out of the folder, or that stands twice, refuses the archive; links, devices and
what macOS puts beside files are left out. Bytes are counted as they are written, since what an
archive says of its sizes may be wrong, and hashed on the way.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rdbench.text import first_line
from rdbench.types import DownloadError

MOST_FILES = 2_000_000
MOST_RATIO = 20
"""What a byte of an archive may become: audio at most some three, silence and tables more."""
SPARE_BYTES = 2**26
"""Beyond that, for small archives."""
_BLOCK = 2**20
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, LZMAError, EOFError,
    # Of zipfile: a method that it does not know, a password, and fields that make no sense.
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip
_JUNK = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\._[^/]*|\.DS_Store)", re.DOTALL)

Member = tuple[str, "IO[bytes] | None"]
"""A name and what the file holds; None of what is no regular file."""


@dataclass
class Unpacked:
    """What was written: (bytes, SHA-256) by path; and how many links and devices were left out."""

    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    left_out: int = 0


def unpack(parts: Sequence[Path], target: Path, wanted: Callable[[str], bool]) -> Unpacked:
    """Unpacks a tar, or a zip in one part or several, into `target`, a new folder of its own.

    wanted: whether a file is, by its path in the archive.

    Raises:
        DownloadError: for an archive that is damaged, leads out of the folder, has two files of one
            name, or is larger than any corpus of its size; and where the disk has no room for it.
        OSError: where it cannot be written.
    """
    name = parts[-1].name
    most = MOST_RATIO * sum(path.stat().st_size for path in parts) + SPARE_BYTES
    done, written = Unpacked(), 0
    try:
        with _opened(parts, target, wanted) as members:
            for path, stream in members:
                place = _place(path, name)
                if stream is None:
                    done.left_out += 1
                elif wanted(place) and not _JUNK.fullmatch(place):
                    size, digest = _write(stream, target / place, most - written, name)
                    written += size
                    done.files[place] = (size, digest)
                if len(done.files) + done.left_out > MOST_FILES:
                    raise DownloadError(
                        f"{name} holds more than {MOST_FILES} files; it is no corpus"
                    )
    except _BROKEN as error:
        raise DownloadError(
            f"{name} is damaged or no archive ({first_line(error)}); fetch it again"
        ) from error
    return done


@contextlib.contextmanager
def _opened(
    parts: Sequence[Path], target: Path, wanted: Callable[[str], bool]
) -> Iterator[Iterator[Member]]:
    *_, last = parts
    with contextlib.ExitStack() as stack:
        # A tar first: a zip is told by its end, which may be that of a tar's last member.
        if len(parts) > 1 or (not _is_tar(last) and zipfile.is_zipfile(last)):
            stream = stack.enter_context(io.BufferedReader(_Joined(parts)))
            archive = stack.enter_context(_read_zip(stream, parts))
            needed = sum(one.file_size for one in archive.infolist() if wanted(one.filename))
            if needed > (free := shutil.disk_usage(target).free):
                raise DownloadError(
                    f"{last.name} becomes {needed} bytes, and {target} has room for {free}; make "
                    "room, or name another folder with --data"
                )
            yield _of_zip(archive)
        else:
            yield _of_tar(stack.enter_context(tarfile.open(last, "r|*")))


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except _BROKEN:  # of what only begins like one that is compressed
        return False


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if info.is_dir():
            continue
        if stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG):
            with archive.open(info) as stream:
                yield info.filename, stream
        else:
            yield info.filename, None


def _of_tar(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if info.isdir():
            continue
        yield info.name, archive.extractfile(info) if info.isreg() else None
        # tarfile keeps every member that it has passed: gigabytes, for millions of files.
        archive.members = []  # type: ignore[attr-defined]  # documented nowhere, and so not typed


def _read_zip(stream: IO[bytes], parts: Sequence[Path]) -> zipfile.ZipFile:
    """A zip, of which places are counted from the start of the part that they are in."""
    archive = zipfile.ZipFile(stream)
    if len(parts) > 1:
        starts = [0, *accumulate(path.stat().st_size for path in parts)]
        for info in archive.infolist():
            # As it was read, it is counted from where the last part begins.
            if info.volume >= len(parts):
                raise zipfile.BadZipFile(f"{len(parts)} parts where it has {info.volume + 1}")
            info.header_offset += starts[info.volume] - starts[len(parts) - 1]
            if hasattr(info, "_end_offset"):  # where the next would begin, of newer Pythons
                info._end_offset = None
    return archive


class _Joined(io.RawIOBase):
    """Files one after the other."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._files = [path.open("rb") for path in parts]
        self._ends = list(accumulate(path.stat().st_size for path in parts))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        for file, start, end in zip(self._files, [0, *self._ends], self._ends, strict=False):
            if start <= self._at < end:
                file.seek(self._at - start)
                got = file.readinto(memoryview(buffer)[: end - self._at])
                self._at += got
                return got
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def _place(path: str, archive: str) -> str:
    """The path below the folder; raises DownloadError for one that leads anywhere else."""
    pure = PurePosixPath(path)
    leads = pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", path)
    if leads or not pure.parts or "\\" in path or "\0" in path:
        raise DownloadError(
            f"{archive} holds {path[:100]!r}, which leads out of its folder; nothing of it was kept"
        )
    return pure.as_posix()


def _write(stream: IO[bytes], path: Path, most: int, archive: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        out = path.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise DownloadError(f"{archive} holds {path.name!r} twice; it is damaged") from None
    with out:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > most:
                raise DownloadError(
                    f"{archive} becomes more than {MOST_RATIO} times its size; it is no corpus, "
                    "and nothing of it was kept"
                )
            out.write(block)
            digest.update(block)
    return size, digest.hexdigest()
