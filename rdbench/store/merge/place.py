"""A folder that is there whole or not at all, as the result of work that may end at any moment.

The work goes on in a hidden folder beside it, `.NAME.merging`, which gets the name at the end. What
a killed process leaves there goes with the next attempt; the lock of the run in it says whether one
is still going on.
"""

from __future__ import annotations

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
    session = session_of(folder)
    if session is not None and session.running:
        raise StoreError(
            f"{out} is being made by process {session.pid} on {session.host}; wait until that "
            "ends, or choose another folder"
        )
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    try:
        yield folder
        try:
            folder.rename(out)
            descriptor = os.open(out.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise cannot_write(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_new(out: Path) -> None:
    """Raises StoreError where something is there already that `out` would mix with."""
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise cannot_write(out, error) from error
    if taken:
        raise StoreError(f"{out} is there and not empty; give a new folder with -o")
