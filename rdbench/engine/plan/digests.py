"""Digests that name what could change a value."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(parts: Any) -> str:
    """SHA-256 (hex) of `parts` as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def clip_seed(seed: int, content: str) -> int:
    """A seed that belongs to a clip's content, so that a sample is the same in any batch (63 bits).

    seed: of the protocol. content: the digest of the clip's audio.
    """
    return int(digest([seed, content])[:16], 16) >> 1


def other_seed(seed: int, number: int) -> int:
    """The seed of a clip when it is drawn for with seed `number`; the clip's own for 0."""
    return clip_seed(number, str(seed)) if number else seed
