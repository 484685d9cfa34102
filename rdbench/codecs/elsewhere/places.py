"""What lies in a folder, by the places of clips (`rdbench.audio.places`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rdbench.audio.clip import readable
from rdbench.files import is_folder
from rdbench.types import CodecError


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
