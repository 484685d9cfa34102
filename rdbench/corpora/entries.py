"""What is known of a public corpus, as a YAML file says it.

Nothing of an entry is code: paths are told by patterns (Python's regular expressions, which a path
below the corpus's folder matches as a whole), other paths by templates of the patterns' named
groups. Every figure that somebody else published stands beside where it was found.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import urllib.parse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    field_validator,
    model_validator,
)

from rdbench.spec.load import read_yaml
from rdbench.suggest import nearest
from rdbench.types import SpecError

FOLDER = Path(__file__).parent / "entries"
GROUP, KEY, CLIP = "group", "id", "clip"
"""Named groups of the pattern of clips: what a clip belongs to, what a table calls it, and what of
its path is its name (all of it without)."""


def _pattern(text: str) -> str:
    re.compile(text)
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Model):
    """A file that is published.

    url: https address. bytes, md5, sha256 (hex): as published, None where nothing is, or nothing
    was found. found: where these figures were found, or why there are none.
    """

    url: Annotated[str, StringConstraints(pattern=r"^https://")]
    bytes: int | None = None
    md5: Hex32 | None = None
    sha256: Hex64 | None = None
    found: Text

    @property
    def name(self) -> str:
        """What it is called here."""
        return posixpath.basename(urllib.parse.urlsplit(self.url).path.rstrip("/"))

    @property
    def checksum(self) -> str:
        """What is known of its hash, for messages."""
        known = [("SHA-256", self.sha256), ("MD5", self.md5)]
        return ", ".join(f"{kind} {value}" for kind, value in known if value) or "none published"


class Archive(File):
    """A file and what becomes of it.

    earlier: the parts of a split zip before this one, which is the last. unpack: whether it is an
    archive (zip, tar); else it is put below the corpus as it is. members: of an archive, what is
    unpacked; None is all. called: its name, where the address has none to tell by.
    """

    earlier: tuple[File, ...] = ()
    unpack: bool = True
    members: Pattern | None = None
    called: str | None = None

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.called or super().name

    @property
    def parts(self) -> tuple[File, ...]:
        """All files of it, in their order."""
        return (*self.earlier, self)


class TextFile(_Model):
    """What is said in a clip, in a file beside it.

    file: template. line: what its line begins with (a template), before a blank; None is the whole
    file. missing: whether clips may lack one.
    """

    file: Text
    line: str | None = None
    missing: bool = False


class Table(_Model):
    """A table of the clips: CSV or TSV with a header, or JSON (keys to rows, or to texts).

    file: below the root. key: its column (of JSON: the keys) that says which clip, as the pattern's
    group `id` does. group, text: columns; a JSON of texts has the column `text`. columns: the
    header, where the file has none; lines that begin with # are left out then.
    lists: which clips there are. None: all files, and each has a row. "all": those with a row, each
    of which must be there. "some": those with a row that are there.
    """

    file: Text
    key: str = KEY
    group: str | None = None
    text: str | None = None
    columns: tuple[str, ...] | None = None
    lists: Literal["all", "some"] | None = None
    missing: bool = False


class Kind(_Model):
    """Files that mean something: clips of another domain, or another version of a corpus."""

    files: Pattern
    means: Text


class Clips(_Model):
    """How clips lie in the folder.

    root: the folder of an archive below which paths start. files: pattern of their paths; its group
    `group` is the clip's group (the clip itself without one). also: pattern of audio that belongs
    to the corpus and is no clip. count: how many clips there are, None where nobody says.
    """

    files: Pattern
    root: str = ""
    also: Pattern | None = None
    count: int | None = None
    found: str = ""
    text: TextFile | None = None
    table: Table | None = None


class Entry(_Model):
    """A corpus.

    title: with its version. domain: of its clips, but for those of `domains`. licence: as its
    publisher states it. citation: how it wants to be cited. homepage: https address.
    archives: what is fetched. by_hand: where it is to be had where nobody may fetch it; archives
    are then taken from a folder alone. note: what else
    one must know. others: files that tell another version or another corpus.
    listening: whether listeners' scores come with it (`rdbench.corpora.listening`).
    fetched: when it was fetched for real and checked, None as long as nobody has.
    """

    title: Text
    domain: Text
    licence: Text
    citation: Text
    homepage: Annotated[str, StringConstraints(pattern=r"^https://")]
    clips: Clips
    archives: tuple[Archive, ...] = ()
    by_hand: str = ""
    note: str = ""
    domains: tuple[Kind, ...] = ()
    others: tuple[Kind, ...] = ()
    listening: bool = False
    fetched: str | None = None
    _name: str = ""
    _digest: str = ""

    @field_validator("clips")
    @classmethod
    def _table_has_a_key(cls, value: Clips) -> Clips:
        groups = re.compile(value.files).groupindex
        if value.table is not None and KEY not in groups:
            raise ValueError(f"a table needs the group {KEY!r} in `files`")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.archives and not self.by_hand:
            raise ValueError("an entry has archives, or says how it is got by hand")
        return self

    @property
    def name(self) -> str:
        """What specs call it."""
        return self._name

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the entry, which says whether two machines mean the same by a name."""
        return self._digest

    @property
    def bytes(self) -> int | None:
        """Of all archives; None where one does not say."""
        sizes = [part.bytes for archive in self.archives for part in archive.parts]
        return None if None in sizes or not sizes else sum(size or 0 for size in sizes)

    @property
    def size(self) -> str:
        """The same as text, in megabytes or gigabytes."""
        return "not known" if self.bytes is None else size_text(self.bytes)

    @property
    def all_domains(self) -> str:
        """Every domain that a clip may have, with commas."""
        return ", ".join(dict.fromkeys([*(kind.means for kind in self.domains), self.domain]))

    def domain_of(self, path: str) -> str:
        """The domain of a clip by its path."""
        return next(
            (kind.means for kind in self.domains if re.fullmatch(kind.files, path)), self.domain
        )


def size_text(size: int) -> str:
    """Some bytes in megabytes or gigabytes, where they are as many.

    >>> size_text(700), size_text(346_663_984), size_text(22_656_664_047)
    ('700 bytes', '347 MB', '22.7 GB')
    """
    if size < 1e6:
        return f"{size} bytes"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@cache
def names() -> tuple[str, ...]:
    """Every corpus there is an entry of, in order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def entry(name: str) -> Entry:
    """What is known of a corpus; raises SpecError for a name that is not known."""
    if name not in names():
        raise SpecError(
            f"there is no corpus {name!r}; {nearest(name, names())} (a folder or a manifest of "
            "your own needs no name: `kind: folder`, `kind: manifest`)"
        )
    return _read(name)


def entries() -> Iterator[Entry]:
    """All of them, in order of their names."""
    return map(_read, names())


@cache
def _read(name: str) -> Entry:
    path = FOLDER / f"{name}.yaml"
    return made(name, read_yaml(path, "entry"), path.read_bytes())


def made(name: str, content: dict[str, Any], raw: bytes) -> Entry:
    """An entry of what its file says; raw: the bytes that name its version."""
    found = Entry.model_validate(content)
    found._name, found._digest = name, hashlib.sha256(raw).hexdigest()
    return found
