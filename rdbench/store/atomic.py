"""Writes a file so that a reader, or a crash at any moment, sees the old one or the new one whole.

The content goes beside the final name under a temporary one, is flushed to the disk, and renamed;
then the folder is flushed, so that the name survives a loss of power too.

A folder of results may come from somebody else, with links in it that point to files of this
user's. So whatever is made, renamed or removed in one (`within`) is named relative to its opened
folder, to which no link is followed; a link that has the name of a file is replaced, and what it
points to stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from rdbench.types import StoreError

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def write_atomic(path: Path, content: bytes, *, within: Path | None = None) -> None:
    """Writes `content` to `path` whole or not at all.

    within: the folder of results in which it lies, below which no link is followed; its own folder
    where none is given. Raises StoreError with one sentence where the disk is full, or the folder
    cannot be written.
    """
    temporary = f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    with changing(path, within) as folder:
        try:
            with os.fdopen(os.open(temporary, _NEW, 0o666, dir_fd=folder), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            # Where this fails the next writer removes it; the first error is the one to report.
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


def check_writable(path: Path) -> None:
    """Raises StoreError where `write_atomic` could not write `path`: told before long work."""
    temporary = f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    with changing(path) as folder:
        os.close(os.open(temporary, _NEW, 0o666, dir_fd=folder))
        os.unlink(temporary, dir_fd=folder)


def write_new(path: Path, content: bytes, *, within: Path) -> None:
    """Writes a file that is not there yet, and its folder; quickly, for what can be made again.

    Raises StoreError as `write_atomic` does, and where something has the name.
    """
    with (
        changing(path, within, make=True) as folder,
        os.fdopen(os.open(path.name, _NEW, 0o666, dir_fd=folder), "wb") as file,
    ):
        file.write(content)


def make_folder(folder: Path, *, within: Path | None = None) -> None:
    """Makes `folder` and its parents, those below `within` without following a link.

    Raises StoreError with one sentence where that fails.
    """
    try:
        if within is None:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            within.mkdir(parents=True, exist_ok=True)
            with _opened(folder, within, make=True):
                pass
    except OSError as error:
        raise cannot_write(folder, error) from error
    # Parents that are not ours may refuse to be opened; the folder is there all the same.
    for parent in (folder.parent, folder.parent.parent):
        with contextlib.suppress(OSError):
            _sync_folder(parent)


@contextlib.contextmanager
def changing(path: Path, within: Path | None = None, *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder of `path`, for `dir_fd`; no link below `within` is followed.

    make: makes the folders that are not there, as far as they lie below `within`.
    Whatever the operating system refuses inside becomes a StoreError that names `path`.
    """
    try:
        with _opened(path.parent, within, make=make) as folder:
            yield folder
    except OSError as error:
        raise cannot_write(path, error) from error


def trusted(out: Path, run: Path) -> Path:
    """Below which folder no link is followed on the way to `out`: the run it lies in, or itself."""
    return run if out.is_relative_to(run) else out


def remove(path: Path, *, within: Path | None = None) -> None:
    """Removes a file, or the link that has its name, where there is one; raises StoreError."""
    with changing(path, within) as folder, contextlib.suppress(FileNotFoundError):
        os.unlink(path.name, dir_fd=folder)


def remove_leftovers(
    folder: Path, only: Collection[str] | None = None, *, within: Path | None = None
) -> None:
    """Removes the temporary files of a killed writer, or those for some names.

    Nobody else may write these files meanwhile: that is what the lock of a run is for. Raises
    StoreError.
    """
    with changing(folder / "*", within) as descriptor:
        for name in os.listdir(descriptor):  # noqa: PTH208 (`Path` takes none)
            found = _TEMPORARY.fullmatch(name)
            if found and (only is None or found[1] in only):
                os.unlink(name, dir_fd=descriptor)


def is_temporary(name: str) -> bool:
    """Whether a file name is that of a write in progress, or of one that was cut off."""
    return _TEMPORARY.fullmatch(name) is not None


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The sentence for a failure to write."""
    if error.errno in _FULL:
        return StoreError(
            f"cannot write {path}: the disk is full; free some space and run again, "
            "what is in the folder is kept"
        )
    if error.errno in _FORBIDDEN:
        return StoreError(f"cannot write {path}: it is not writable; choose another folder")
    if error.errno == errno.ELOOP:
        return StoreError(
            f"cannot write {path}: {error.filename or path} is a link, and in a folder of results "
            "none is followed; put what it points to in its place"
        )
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(f"cannot write {path}: a file is in its way; choose another folder")
    reason = error.strerror or type(error).__name__
    return StoreError(f"cannot write {path} ({reason}); check the disk or choose another folder")


@contextlib.contextmanager
def _opened(folder: Path, within: Path | None, *, make: bool = False) -> Iterator[int]:
    """A descriptor of `folder`, reached from `within` step by step and without a link."""
    descriptor = os.open(within or folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    at = within or folder
    try:
        for name in folder.relative_to(at).parts:
            at /= name
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
            above, descriptor = descriptor, _below(descriptor, name, at)
            os.close(above)
        yield descriptor
    finally:
        os.close(descriptor)


def _below(above: int, name: str, path: Path) -> int:
    if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
        raise OSError(errno.ELOOP, "it is a link", str(path))
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=above)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
