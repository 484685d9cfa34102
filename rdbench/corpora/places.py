"""Where corpora that were fetched lie, and what a fetch says there of what it brought."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from rdbench import download
from rdbench.files import is_file, read_file

RECORD = "rdbench-corpus.json"
_MOST_BYTES = 2**29


@dataclass(frozen=True)
class Record:
    """What a fetch has left in a corpus.

    corpus: its name. entry: the digest of its entry. archives: (bytes, SHA-256) by address. files:
    the same by path.
    """

    corpus: str
    entry: str
    archives: Mapping[str, tuple[int, str]]
    files: Mapping[str, tuple[int, str]]

    def write(self, folder: Path) -> None:
        """Leaves it in the corpus."""
        (folder / RECORD).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def place_of(name: str) -> Path:
    """Where a corpus is put: in `corpora`, beside the weights that were fetched.

    Raises DownloadError for a user without a folder for either.
    """
    return download.cache_folder("corpora") / name


def is_fetched(folder: Path) -> bool:
    """Whether a fetch has brought what lies there."""
    return is_file(folder / RECORD)


def read_record(folder: Path) -> Record | None:
    """What a fetch has left there; None where there is no such thing."""
    try:
        content = json.loads(read_file(folder / RECORD, _MOST_BYTES))
        archives, files = (
            {str(name): (int(size), str(digest)) for name, (size, digest) in content[key].items()}
            for key in ("archives", "files")
        )
        if any(PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in files):
            return None
        return Record(str(content["corpus"]), str(content["entry"]), archives, files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
