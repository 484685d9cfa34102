"""Writes a file so that a reader, or a crash at any moment, sees the old one or the new one whole.

The content goes beside the final name under a temporary one, is flushed to the disk, and renamed;
then the folder is flushed, so that the name survives a loss of power too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Collection
from pathlib import Path

from rdbench.types import StoreError

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_atomic(path: Path, content: bytes) -> None:
    """Writes `content` to `path` whole or not at all.

    Raises StoreError with one sentence where the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105 (one place to inject faults)
        except BaseException:
            _discard(temporary)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(folder: Path) -> None:
    """Makes `folder` and its parents; raises StoreError with one sentence where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    # Parents that are not ours may refuse to be opened; the folder is there all the same.
    for parent in (folder.parent, folder.parent.parent):
        with contextlib.suppress(OSError):
            _sync_folder(parent)


def remove_leftovers(folder: Path, only: Collection[str] | None = None) -> None:
    """Removes the temporary files of a killed writer, or those for some names.

    Nobody else may write these files meanwhile: that is what the lock of a run is for. Raises
    StoreError.
    """
    try:
        for path in folder.iterdir():
            found = _TEMPORARY.fullmatch(path.name)
            if found and (only is None or found[1] in only):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


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
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(f"cannot write {path}: a file is in its way; choose another folder")
    reason = error.strerror or type(error).__name__
    return StoreError(f"cannot write {path} ({reason}); check the disk or choose another folder")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    # Where this fails the next writer removes it; the first error is the one to report.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
