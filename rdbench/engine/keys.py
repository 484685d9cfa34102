"""Names units of work by everything that could change their value.

A unit whose key is already in the store is not done again; one whose inputs changed never looks
present. A key is the SHA-256 of canonical JSON.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(parts: Any) -> str:
    """SHA-256 (hex) of `parts` as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def unit_key(**parts: Any) -> str:
    """The key of one unit of work, 32 hex digits (128 bits)."""
    return digest(parts)[:32]


def clip_seed(seed: int, clip_key: str) -> int:
    """A seed that belongs to a clip, so that a sample is the same in any batch (63 bits)."""
    return int(digest([seed, clip_key])[:16], 16) >> 1
