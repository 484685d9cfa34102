"""A part of a corpus that is the same for everybody: an order by hashes, cut off after n clips.

Clips are dealt in turns. With the strata s₁, s₂, … (domain, group) every clip has a place in

    order(C; s₁, s₂, …) = one of each stratum of s₁ in turn, each stratum in order(·; s₂, …)
    order(C)            = by H(seed, name)

where H is SHA-256 and strata take turns in the order of H(seed, name of the stratum). Nothing else
decides: not the order of files, the platform, a generator of random numbers or its version. So the
first n are a part of the first n + 1, and a clip that is added to the corpus takes the place of one
other at most: within a stratum it is put between two, and the number of a stratum's clips that are
taken grows only where there were too few.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdbench.audio.clip import Clip

STRATA = ("domain", "group")
"""What clips may be dealt by."""


def order(clips: Sequence[Clip], *, seed: int, per: Sequence[str]) -> list[Clip]:
    """All clips in the order in which they are taken; per: of STRATA, the outer one first."""
    if not per:
        return sorted(clips, key=lambda clip: _drawn(seed, "clip", clip.name))
    stratum, *inner = per
    members: dict[str, list[Clip]] = {}
    for clip in clips:
        members.setdefault(getattr(clip, stratum), []).append(clip)
    names = sorted(members, key=lambda name: _drawn(seed, stratum, name))
    return list(_in_turn(order(members[name], seed=seed, per=inner) for name in names))


def _drawn(seed: int, kind: str, name: str) -> tuple[bytes, str]:
    """Where a name stands; file systems differ in how they spell an accent (NFC, NFD)."""
    text = f"{seed}\n{kind}\n{unicodedata.normalize('NFC', name)}"
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest(), name


def _in_turn(lists: Iterable[Iterable[Clip]]) -> Iterator[Clip]:
    """The first of each, then the second of each, and so on."""
    return (clip for turn in zip_longest(*lists) for clip in turn if clip is not None)
