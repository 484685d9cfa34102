"""Files by content: what a shard needs, and where a worker has it.

A worker looks for a file under its own path, below its own root, and in its cache, where files are
named by their SHA-256; what it does not find is sent to it, once for each cache. Its root is a
folder, or an address that fsspec reads (`https://…`, `s3://…`), from which files are fetched into
the cache. What it uses holds what was hashed, whatever it is called.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.files import open_regular
from rdbench.identity import file_sha256

if TYPE_CHECKING:
    from rdbench.engine.executors.cluster.parcels import Roots

ROOT_VARIABLE = "RDBENCH_DATA"
"""Names the root, on each side."""
CHUNK_BYTES = 2**22
LEFTOVER_SECONDS = 86400.0
"""After how long without a byte a file on its way is nobody's any more."""
_LONGEST_SUFFIX = 16
_UNFINISHED = ".part"


@dataclass(frozen=True)
class NamedFile:
    """A file: its path where the run is, the SHA-256 (hex) of its bytes, and their number."""

    path: str
    sha256: str
    size: int

    @property
    def cached_name(self) -> str:
        """Its name in a cache: the hash, with the ending by which readers know the format."""
        suffix = Path(self.path).suffix
        usable = suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= _LONGEST_SUFFIX
        return f"{self.sha256}{suffix if usable else ''}"


class FileCache:
    """The files that a worker has.

    folder: of the cache, which workers of one machine may share. Raises OSError where that cannot
    be written. name: tells caches apart. What processes left there that were killed goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        named = folder / "name"
        with suppress(FileExistsError), named.open("x") as file:
            file.write(uuid.uuid4().hex)
        self.name = named.read_text() or str(folder)
        for left in folder.glob(f"*/.*{_UNFINISHED}"):
            with suppress(OSError):  # another worker was faster
                if time.time() - left.stat().st_mtime > LEFTOVER_SECONDS:
                    left.unlink()

    def find(self, file: NamedFile, roots: Roots) -> str | None:
        """Where a file of that content is, fetched from the root where that is an address.

        Raises OSError where the cache cannot take it.
        """
        known = self._found.get((file.path, file.sha256))
        if known and _stamp(known[0]) == known[1]:
            return known[0]
        below = roots.below(file.path)
        remote = "://" in roots.here
        cached = str(self._place(file))
        places = [file.path]
        if below and not remote and roots.here:
            places.append(str(Path(roots.here) / below))
        for path in (*places, cached):
            if _holds(path, file):
                return self._noted(file, path)
        if below and remote and self._fetch(f"{roots.here.rstrip('/')}/{below}", file):
            return self._noted(file, cached)
        return None

    def begin(self, file: NamedFile) -> Incoming:
        """A file that comes in pieces."""
        return Incoming(self._place(file), file)

    def _place(self, file: NamedFile) -> Path:
        return self._folder / file.sha256[:2] / file.cached_name

    def _noted(self, file: NamedFile, path: str) -> str:
        self._found[file.path, file.sha256] = path, _stamp(path)
        return path

    def _fetch(self, address: str, file: NamedFile) -> bool:
        import fsspec

        with Incoming(self._place(file), file) as incoming:
            try:
                with fsspec.open(address, "rb") as source:
                    while piece := source.read(CHUNK_BYTES):
                        incoming.write(piece)
            except Exception:  # each kind of address has errors of its own; the run has the file
                return False
            return incoming.finish()


class Incoming:
    """A file of a cache on its way: under another name until it is whole and what it should be.

    touched: when it came to its last piece (`time.monotonic`).
    """

    def __init__(self, place: Path, file: NamedFile) -> None:
        self._place, self._expected = place, file
        place.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = place.with_name(f".{uuid.uuid4().hex}{_UNFINISHED}")
        self._stream = self._unfinished.open("xb")
        self._hash = hashlib.sha256()
        self.touched = time.monotonic()

    def write(self, piece: bytes) -> None:
        """Adds a piece; raises OSError where there is no room."""
        self._stream.write(piece)
        self._hash.update(piece)
        self.touched = time.monotonic()

    def finish(self) -> bool:
        """Gives it its name, if it is the file that was meant."""
        self._stream.close()
        if self._hash.hexdigest() != self._expected.sha256:
            return False
        self._unfinished.replace(self._place)
        return True

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._stream.close()
        self._unfinished.unlink(missing_ok=True)


def pieces_of(source: Path | bytes) -> Iterator[bytes]:
    """What is sent of a file; raises OSError."""
    if isinstance(source, bytes):
        for start in range(0, len(source), CHUNK_BYTES):
            yield source[start : start + CHUNK_BYTES]
        return
    with open_regular(source) as stream:
        while piece := stream.read(CHUNK_BYTES):
            yield piece


def _holds(path: str, file: NamedFile) -> bool:
    try:
        return Path(path).stat().st_size == file.size and file_sha256(Path(path)) == file.sha256
    except (OSError, ValueError):
        return False


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
