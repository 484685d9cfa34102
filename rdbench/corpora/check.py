"""Whether a folder holds a corpus as it was published, and a name for what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rdbench.audio.clip import Corpus
from rdbench.corpora.clips import corpus_of
from rdbench.corpora.entries import Entry
from rdbench.corpora.places import Record, read_record
from rdbench.identity import file_sha256
from rdbench.types import SpecError

_SHOWN = 3


@dataclass(frozen=True)
class Checked:
    """What was found.

    corpus: the clips, None where the folder does not hold the corpus. identity: SHA-256 (hex) of
    their names, domains, groups, texts and contents, equal on machines that have the same clips.
    findings: what is wrong, a sentence each. recorded: whether every file was held against what
    came with the fetch.
    """

    corpus: Corpus | None
    identity: str
    findings: tuple[str, ...]
    recorded: bool


def check(known: Entry, folder: Path, tell: Callable[[int, int], None]) -> Checked:
    """Looks at every file of a corpus; `tell` is told how many of how many clips are done."""
    findings: list[str] = []
    corpus = None
    try:
        corpus = corpus_of(known, folder)
    except SpecError as error:
        findings.append(str(error))
    clips = corpus.clips if corpus else ()
    hashes: dict[Path, str] = {}
    silent = []
    for done, clip in enumerate(clips, start=1):
        try:
            hashes[clip.path] = file_sha256(clip.path)
            _read_header(clip.path)
        except (OSError, RuntimeError):
            silent.append(clip.name)
        tell(done, len(clips))
    findings += _told("cannot be read as audio", silent)
    record = read_record(folder)
    if record is not None:
        if record.corpus != known.name:
            findings.append(
                f"a fetch brought {record.corpus} there; check it as that, or fetch {known.name}"
            )
        findings += _against(record, folder, hashes)
        if findings and record.entry != known.digest:  # of itself that changes no clip
            findings.append(
                f"it was fetched by another version of rdbench's entry of {record.corpus}, which "
                "may be why; fetch it again"
            )
    return Checked(corpus, _identity(corpus, hashes), tuple(findings), record is not None)


def _read_header(path: Path) -> None:
    import soundfile

    soundfile.info(str(path))


def _against(record: Record, folder: Path, hashes: dict[Path, str]) -> list[str]:
    """What is not as it came."""
    missing, changed = [], []
    for name, (size, digest) in record.files.items():
        path = folder / name
        try:
            there = path.stat().st_size == size
            if not there or (hashes.get(path) or file_sha256(path)) != digest:
                changed.append(name)
        except OSError:
            missing.append(name)
    return [*_told("missing", missing), *_told("changed since it was fetched", changed)]


def _told(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = len(names) - _SHOWN
    named = ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return [f"{what}: {named}; fetch the corpus again, or put the files back"]


def _identity(corpus: Corpus | None, hashes: dict[Path, str]) -> str:
    if corpus is None:
        return ""
    rows = sorted(
        [clip.name, clip.domain, clip.group, clip.text, hashes.get(clip.path, "")]
        for clip in corpus.clips
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
