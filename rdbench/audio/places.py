"""Where what was made of a clip lies: in a folder, under the clip's name without its ending.

What was made of `speech/a.flac` is `speech/a.…`; of a part of a file, `a.flac#1+2`, it is
`a#1+2.…`. Names are those of clips, as text (`rdbench.audio.clip`), and lead out of no folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from rdbench.types import SpecError

_PART = re.compile(r"(.+?)(#[0-9.e-]+\+(?:end|[0-9.e-]+))?", re.DOTALL)
"""The name of a clip: a file, and a part of it."""


def place_of(clip: str) -> str:
    """Where in a folder it lies, without the ending.

    >>> place_of("speech/a.flac"), place_of("a.flac#1+2"), place_of("../a.wav"), place_of(".")
    ('speech/a', 'a#1+2', 'a', '')
    """
    found = _PART.fullmatch(clip)
    whole, part = (clip, "") if found is None else (found[1], found[2] or "")
    *folders, name = PurePosixPath("/", whole).parts
    inside = [one for one in (*folders, PurePosixPath(name).stem) if one not in ("/", "..", "")]
    return "/".join(inside) + part


def places_of(clips: Iterable[str]) -> dict[str, str]:
    """The place of each clip; raises SpecError where two clips would have one file."""
    found: dict[str, str] = {}
    owners: dict[str, str] = {}
    for clip in clips:
        found[clip] = place_of(clip)
        other = owners.setdefault(found[clip], clip)
        if other != clip:
            raise SpecError(
                f"what was made of the clips {other!r} and {clip!r} would have one file; give "
                "their files names that differ by more than the ending"
            )
    return found
