"""What a file, or code that is not rdbench's own, consists of: its content, never its name.

The version of a plugin says too little: its code is changed, another checkpoint is put at the same
path. So keys of units have the hash of its module and of all modules beside it, and of every file
that an option names.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks; raises OSError.

    A pipe or a device is refused: opening one may wait for ever.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_of(module: str, options: object = None) -> tuple[str, ...]:
    """Hashes of a module's code and of the files in `options` (as JSON has them).

    None for a module of rdbench, whose things have versions. A module without a file (one that was
    typed in) is named alone.
    """
    if module.partition(".")[0] == "rdbench":
        return ()
    return (*_code(module), *_files(options)) or (module,)


def _code(module: str) -> Iterator[str]:
    """Of the module's own file, and of what is imported from its package, or from its folder."""
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
            yield file_sha256(file)


def _files(option: object) -> Iterator[str]:
    """Of every file that a text in an option names; of a folder, what lies in it and when."""
    if isinstance(option, dict | list):
        for value in option.values() if isinstance(option, dict) else option:
            yield from _files(value)
    elif isinstance(option, str) and option:
        with contextlib.suppress(OSError, ValueError):  # most texts are no paths
            path = Path(option).expanduser()
            if path.is_file():
                yield file_sha256(path)
            elif path.is_dir():
                for file in sorted(path.rglob("*")):
                    stat = file.stat()
                    yield f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}"
