"""A folder that is there whole or not at all, as the result of work that may end at any moment.

The work goes on in a hidden folder beside it, `.NAME.merging`, which gets the name at the end. Who
works there has locked the folder, from before the first file in it is made or removed, so that a
second one takes nothing from it. What a killed process leaves there goes with the next attempt.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rdbench.store.atomic import cannot_write, make_folder
from rdbench.store.lock import session_of
from rdbench.types import StoreError


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A folder to work in, which becomes `out` when all went well, and is removed when not.

    Raises StoreError where `out` holds something, where another process works for it, and where
    the disk refuses.
    """
    out = Path(out).resolve()
    check_new(out)
    folder = out.with_name(f".{out.name}.merging")
    if folder.is_symlink():
        folder.unlink()
    make_folder(folder)
    with _owned(folder, out):
        yield from _renamed_at_end(folder, out)


@contextmanager
def _owned(folder: Path, out: Path) -> Iterator[None]:
    """While nobody else works in `folder`; raises StoreError where somebody does."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        session = session_of(folder)
        if not _locked(descriptor, folder) or (session is not None and session.running):
            who = f"process {session.pid} on {session.host}" if session else "another process"
            raise StoreError(
                f"{out} is being made by {who}; wait until that ends, or choose another folder"
            )
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int, folder: Path) -> bool:
    """Takes the lock of an opened folder; whether that worked, and the folder has its name still.

    A file system that locks no folders (NFS) leaves it to the lock of the run inside.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    try:
        return os.path.samestat(os.fstat(descriptor), folder.lstat())
    except OSError:
        return False


def _renamed_at_end(folder: Path, out: Path) -> Iterator[Path]:
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                left.unlink()
    try:
        yield folder
        check_new(out)
        try:
            folder.rename(out)
        except OSError as error:
            raise cannot_write(out, error) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # From here on that name may be another's.
    try:
        descriptor = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise cannot_write(out, error) from error


def check_new(out: Path) -> None:
    """Raises StoreError where something is there already that `out` would mix with."""
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise cannot_write(out, error) from error
    if taken:
        raise StoreError(f"{out} is there and not empty; give a new folder with -o")
