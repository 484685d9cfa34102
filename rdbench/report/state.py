"""Whether the tables and figures of a run are all there, and of what it holds now.

A report that is cut off leaves some files new, some old, and some missing. So a list of what was
written, with a digest of what it was made from, is written last (`.shown.json`) and taken away
first: without it, or where it does not fit any more, `rdbench run` makes everything again even if
there was nothing to measure.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from rdbench.analysis.listeners.ratings import FOLDER as LISTENERS
from rdbench.files import read_file
from rdbench.identity import file_sha256
from rdbench.store.atomic import remove, remove_leftovers, write_atomic
from rdbench.store.attachments import FOLDERS
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import MEASUREMENTS, list_parts
from rdbench.store.schema import Kind
from rdbench.types import StoreError

NAME = ".shown.json"
MAX_BYTES = 2**22
CHANGES_ALWAYS = ("updated", "finished")
"""Keys of a manifest that differ between two runs of which the second did nothing."""
_IN_THE_FOLDER = (NAME, "table.md", "table.csv")
_BELOW = ("tables", "figures", "figures/data")
_FOLDERS = (MEASUREMENTS, FOLDERS[Kind.TRACE])


def begin(folder: Path) -> None:
    """Says that the tables and figures of a run are being made; raises StoreError.

    What a killed report was writing goes.
    """
    remove(folder / NAME)
    remove_leftovers(folder, only=_IN_THE_FOLDER)
    for name in _BELOW:
        if (folder / name).is_dir():
            remove_leftovers(folder / name, within=folder)


def end(folder: Path, made_from: str, written: Iterable[Path]) -> None:
    """Says that they have been made, all of `written`, of what `digest` said; raises StoreError."""
    files = sorted(Path(os.path.relpath(path, folder)).as_posix() for path in written)
    content = {"made_from": made_from, "files": files}
    text = json.dumps(content, indent=1) + "\n"
    write_atomic(folder / NAME, text.encode(), within=folder)


def stands(folder: Path) -> bool:
    """Whether all tables and figures are there that what the run holds now has; never raises."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError, StoreError):
        said = json.loads(read_file(folder / NAME, MAX_BYTES))
        here = all((folder / name).is_file() for name in said["files"])
        return here and bool(said["files"]) and said["made_from"] == digest(folder)
    return False


def digest(folder: Path) -> str:
    """A digest of what tables and figures are made from: the manifest, and the names of parts.

    A part's name has the checksum of its content. Raises StoreError.
    """
    manifest = read_manifest(folder)
    told = {key: value for key, value in manifest.items() if key not in CHANGES_ALWAYS}
    parts = [[part.path.name for part in list_parts(folder / name)] for name in _FOLDERS]
    answers = sorted((folder / LISTENERS).glob("*.csv"))
    scores = [(path.name, file_sha256(path)) for path in answers]
    text = json.dumps([told, parts, scores], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
