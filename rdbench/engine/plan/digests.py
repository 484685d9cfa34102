"""Digests that name what could change a value, and the hashes of files they are made of."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any


def digest(parts: Any) -> str:
    """SHA-256 (hex) of `parts` as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks; raises OSError.

    A pipe or a device is refused: opening one may wait for ever.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clip_seed(seed: int, content: str) -> int:
    """A seed that belongs to a clip's content, so that a sample is the same in any batch (63 bits).

    seed: of the protocol. content: the digest of the clip's audio.
    """
    return int(digest([seed, content])[:16], 16) >> 1
