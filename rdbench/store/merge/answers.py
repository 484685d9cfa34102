"""Listeners' answers: those of one run come along, and those of two tests are not mixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rdbench.files import read_file
from rdbench.store.atomic import make_folder, write_atomic
from rdbench.store.merge.sources import Source
from rdbench.store.schema import LISTENERS
from rdbench.types import StoreError

MAX_BYTES = 2**28


def take_answers(sources: Sequence[Source], into: Path) -> list[str]:
    """Copies the answers under each scale from the first run that has some.

    Returns a sentence for each file that was left: listener 1 of two tests may be two people.
    Raises StoreError.
    """
    taken: dict[str, tuple[Source, bytes]] = {}
    left = []
    for source in sources:
        folder = source.folder / LISTENERS
        for path in sorted(folder.glob("*.csv")) if folder.is_dir() else ():
            try:
                content = read_file(path, MAX_BYTES)
            except OSError as error:
                raise StoreError(
                    f"cannot read {path} ({error.strerror}); check the file's permissions"
                ) from error
            first, known = taken.setdefault(path.name, (source, content))
            if content != known:
                left.append(
                    f"the answers in {path} are left, since those of {first.name} are under the "
                    "same scale; give the answers of both in one table to `rdbench import-scores`"
                )
    for name, (_, content) in taken.items():
        make_folder(into / LISTENERS, within=into)
        write_atomic(into / LISTENERS / name, content, within=into)
    return left
