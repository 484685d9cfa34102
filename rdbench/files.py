"""Files that may be anybody's: regular ones alone, read up to a stated size.

What a command is given, or finds in a folder of somebody else's, may be a pipe that nobody writes
to, a device that never ends, or larger than memory. Here each of them is an OSError whose
`strerror` says so, as for a file that is not there.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Opens a regular file for reading; raises OSError for all else, without waiting for it."""
    try:
        _check(Path(path).stat(), path)  # first: to open some devices is to do something
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError as error:  # a null character, half a surrogate pair
        raise OSError(errno.EINVAL, "no file can have this name") from error
    try:
        _check(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file of at most `most`; raises OSError for all else."""
    with open_regular(path) as file:
        # No more than it has: what is asked for is reserved, and a limit may not allow it.
        content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return content


def is_file(path: Path) -> bool:
    """Whether a file has this name; no name raises anything, however long it is."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder has this name; no name raises anything."""
    try:
        return path.is_dir()
    except OSError:
        return False


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path with `~` in its place; one of a user that this machine does not have stays."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _check(found: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
