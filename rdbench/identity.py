"""What a file, or code that is not rdbench's own, consists of: its content, never its name.

The version of a plugin says too little: its code is changed, another checkpoint is put at the same
path. So keys of units have the hash of its module and of all modules beside it, and of every file
that an option names.

A file is hashed when a run is planned and used later, by other processes, when it may have been
overwritten. So what is used is held against what was hashed, and never the path alone: small files
are read once, whole, and hashed as they were read (`read_hashed`); of large ones every block that
is used is (`hash_file`, `CheckedFile`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.files import open_regular, read_file

_INSTALLED = ("site-packages", "dist-packages")
BLOCK_BYTES = 2**17
"""A file is hashed in blocks of this size, so that a part of it can be checked by itself: small
enough for clips that are seconds of an hour, large enough for the list of an hour's hashes to be
sent with each of them."""
_BLOCKS_KEPT = 4
_TICK_NS = 1_000_000_000


@dataclass(frozen=True)
class FileHash:
    """What a file held when it was hashed.

    sha256: of all of it (hex). size: in bytes. blocks: the SHA-256 of each BLOCK_BYTES of it, one
    after the other.
    """

    sha256: str
    size: int
    blocks: bytes


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks; raises OSError.

    A pipe or a device is refused: opening one may wait for ever.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_file(path: Path) -> FileHash:
    """The hashes of a file; raises OSError as `file_sha256` does."""
    whole, blocks, size = hashlib.sha256(), bytearray(), 0
    with open_regular(path) as file:
        while block := file.read(BLOCK_BYTES):
            whole.update(block)
            size += len(block)
            blocks += hashlib.sha256(block).digest()
    return FileHash(whole.hexdigest(), size, bytes(blocks))


def read_hashed(path: Path, *, limit: int) -> tuple[bytes, str]:
    """A file's bytes and their SHA-256 (hex), both of one reading.

    Raises OSError as `file_sha256` does, and for more than `limit` bytes.
    """
    content = read_file(path, limit)
    return content, hashlib.sha256(content).hexdigest()


class CheckedFile(io.RawIOBase):
    """A file that holds what it held when it was hashed: each block is checked when it is read.

    changed: whether a block was found to be another. From then on nothing more is read, without an
    exception, since C code that calls back has no use for one; whoever opened the file asks.
    Raises OSError where it cannot be opened.
    """

    def __init__(self, path: Path, expected: FileHash) -> None:
        self._file = open_regular(path)
        self._expected = expected
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.changed = False

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` from where the file stands; 0 at the end, and where it was changed."""
        target = memoryview(buffer).cast("B")
        wanted = min(len(target), max(0, self._expected.size - self._place))
        done = 0
        while done < wanted:
            number, offset = divmod(self._place, BLOCK_BYTES)
            piece = self._block(number)[offset : offset + wanted - done]
            if not piece:
                break
            target[done : done + len(piece)] = piece
            done += len(piece)
            self._place += len(piece)
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place, counted from the start, from here, or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._expected.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        """Where the file stands."""
        return self._place

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            block = b"" if self.changed else self._checked(number)
            self._blocks[number] = block
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _checked(self, number: int) -> bytes:
        size = min(BLOCK_BYTES, self._expected.size - number * BLOCK_BYTES)
        try:
            self._file.seek(number * BLOCK_BYTES)
            block = self._file.read(size)
        except OSError:
            block = b""
        digest = hashlib.sha256(block).digest()
        place = number * len(digest)
        if digest == self._expected.blocks[place : place + len(digest)]:
            return block
        self.changed = True
        return b""


@dataclass(frozen=True)
class Behind:
    """What code that is not rdbench's own consists of.

    source: the hashes that stand for it in keys. files: the files and folders that they are of,
    each with what it held (`content_of`).
    """

    source: tuple[str, ...]
    files: Mapping[Path, str]


def behind(module: str, options: object = None) -> Behind:
    """Of a module's code and of the files in `options` (as JSON has them), each read once.

    Nothing of a module of rdbench, whose things have versions. A module without a file (one that
    was typed in) is named alone.
    """
    if module.partition(".")[0] == "rdbench":
        return Behind((), {})
    found = behind_files(_code(module), options)
    return found if found.source else Behind((module,), found.files)


def behind_files(code: Iterable[Path], options: object = None) -> Behind:
    """Of these files of code and of those in `options` (as JSON has them), each read once."""
    held: dict[Path, list[str]] = {}
    source: list[str] = []
    for path in (*code, *_paths(options)):
        with contextlib.suppress(OSError):
            if path not in held:
                held[path] = _held(path)
            source += held[path]
    return Behind(tuple(source), {path: as_one(what) for path, what in held.items()})


_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_code(name: str) -> bool:
    """Whether a name means code (`module:Class`), which runs only with permission."""
    return ":" in name


def names_class(text: str) -> bool:
    """Whether a text is a whole `module:Class`."""
    return _CLASS.fullmatch(text) is not None


def content_of(path: Path) -> str:
    """The hash of a file, or of what lies in a folder and when that was changed; raises OSError."""
    return as_one(_held(path))


def _held(path: Path) -> list[str]:
    return list(_listing(path)) if path.is_dir() else [file_sha256(path)]


def as_one(held: list[str]) -> str:
    """Names the hashes of several files, in their order, and none of their paths."""
    return held[0] if len(held) == 1 else hashlib.sha256(repr(held).encode()).hexdigest()


class Watch:
    """Files and folders that must stay as they were, for code that may open them at any time.

    files: what each held, as `content_of` says. Asking costs a `stat` for each file: what nobody
    has written since it was hashed is not hashed again.
    """

    def __init__(self, files: Mapping[Path, str]) -> None:
        self._files = files
        self._stamps: dict[Path, tuple[int, ...]] = {}
        self._settled: set[Path] = set()
        self._changed: Path | None = None

    def changed(self) -> Path | None:
        """The first that is not as it was, or was written since the first call; it stays so."""
        if self._changed is None:
            self._changed = next((path for path in self._files if not self._same(path)), None)
        return self._changed

    def _same(self, path: Path) -> bool:
        now = time.time_ns()
        try:
            status = path.stat()
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if self._stamps.setdefault(path, stamp) != stamp:
                return False
            if path in self._settled:
                return True
            if content_of(path) != self._files[path]:
                return False
        except OSError:
            return False
        # What is written in the same tick of the file system's clock has the same time.
        fresh = 0 <= now - status.st_mtime_ns < _TICK_NS
        if not fresh and not path.is_dir():
            self._settled.add(path)
        return True


def _code(module: str) -> Iterator[Path]:
    """The module's own file, and what is imported from its package, or from its folder."""
    own = getattr(sys.modules.get(module), "__file__", None)
    if own is None:
        return
    package = sys.modules[module.partition(".")[0]]
    root = Path(getattr(package, "__file__", None) or own).resolve().parent
    alone = "." not in module and not hasattr(package, "__path__")
    installed = any(part in _INSTALLED for part in root.parts)
    files = {Path(own).resolve()}
    if not (alone and installed):  # a lone module of site-packages has strangers beside it
        for other in list(sys.modules.values()):
            path = Path(getattr(other, "__file__", None) or "/").resolve()
            if path.is_relative_to(root) and not any(
                part in _INSTALLED for part in path.relative_to(root).parts
            ):
                files.add(path)
    for file in sorted(files):
        if file.is_file():
            yield file


def _paths(option: object) -> Iterator[Path]:
    """Every file and folder that a text in an option names."""
    if isinstance(option, dict | list):
        for value in option.values() if isinstance(option, dict) else option:
            yield from _paths(value)
    elif isinstance(option, str) and option:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # most texts are no paths
            path = Path(option).expanduser().absolute()
            if path.is_file() or path.is_dir():
                yield path


def _listing(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        status = file.stat()
        yield f"{file.relative_to(folder)} {status.st_size} {status.st_mtime_ns}"
