"""Where what was made of a clip lies: in a folder, under the clip's name without its ending.

What was made of `speech/a.flac` is `speech/a.…`; of a part of a file, `a.flac#1+2`, it is
`a#1+2.…`. Names are those of clips, as text (`rdbench.audio.clip`), and lead out of no folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rdbench.audio.clip import readable
from rdbench.files import is_folder
from rdbench.types import CodecError, SpecError

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


@dataclass(frozen=True)
class Listing:
    """The files of a folder by place, those of one place by name; hidden ones are left out.

    Folders that are links are not entered; a file that is a link is listed.
    """

    folder: Path
    files: Mapping[str, tuple[Path, ...]]

    @classmethod
    def of(cls, folder: Path, option: str) -> Listing:
        """Lists a folder; raises CodecError, naming the `option`, where there is none."""
        if not is_folder(folder):
            raise CodecError(f"there is no folder {str(folder)!r}; mend `{option}`")
        found: dict[str, list[Path]] = {}
        for parent, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    path = Path(parent, name)
                    inside = readable(path.relative_to(folder).with_suffix("").as_posix())
                    found.setdefault(inside, []).append(path)
        return cls(folder, {place: tuple(paths) for place, paths in found.items()})

    def at(self, place: str) -> tuple[Path, ...]:
        """The files at a place."""
        return self.files.get(place, ())

    def leaves(self, path: Path) -> bool:
        """Whether a file of the folder is a link to something outside of it."""
        try:
            return not path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, RuntimeError):  # links in a circle
            return True
