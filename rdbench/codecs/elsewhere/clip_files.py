"""What lies in folders of each clip: its reconstruction, and what it is given a rate by.

Files are found and hashed when a run is planned, and held against that when they are read, by
another process. What is wrong with a clip's files is kept with it, and is the reason of its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.audio.corpus import AUDIO_SUFFIXES
from rdbench.codecs.elsewhere.arrays import ENDS
from rdbench.codecs.elsewhere.places import Listing
from rdbench.identity import FileHash, hash_file, read_hashed
from rdbench.types import ChangedError, CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rdbench.audio.load import Part

MOST_BYTES = 256 * 2**20
"""Of one bitstream, or of one file of arrays."""
MOST_AUDIO_BYTES = 2**30
"""Of one reconstruction: more than what is read of one at once."""


@dataclass(frozen=True)
class HashedFile:
    """A file, with what it held when the run was planned."""

    path: Path
    held: FileHash

    def read(self) -> bytes:
        """Its bytes; raises ChangedError where they are others by now, CodecError without any."""
        try:
            content, found = read_hashed(self.path, limit=MOST_BYTES)
        except OSError as error:
            raise CodecError(f"{self.path} cannot be read ({error.strerror}); mend it") from None
        if found != self.held.sha256:
            raise ChangedError.of(str(self.path))
        return content


@dataclass(frozen=True)
class ClipFiles:
    """What there is of one clip at one point.

    audio: the reconstruction. coded: the files that rates follow from, by the option that names
    their folder. size: bytes of the bitstream, where a table says them. part: what the protocol
    takes of it, where these are of the whole clip. problem: what is wrong with these, or "".
    """

    clip: str
    audio: HashedFile | None = None
    coded: Mapping[str, HashedFile] = field(default_factory=dict)
    size: int | None = None
    part: Part | None = None
    problem: str = ""

    @property
    def content(self) -> str:
        """Names it all, for the keys of the clip; "" for a clip that cannot be used."""
        if self.problem:
            return ""
        coded = [one.held.sha256 for one in self.coded.values()] or [""]
        audio = self.audio.held.sha256 if self.audio else ""
        return hashlib.sha256(repr([audio, *coded, self.size]).encode()).hexdigest()

    def checked(self) -> ClipFiles:
        """Itself; raises CodecError with what is wrong with it."""
        if self.problem:
            raise CodecError(self.problem)
        return self


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    option: which names its folder. name: as messages call it. ends: its endings (none: any). most:
    bytes that it may have.
    """

    option: str
    name: str
    ends: tuple[str, ...]
    most: int


AUDIO = Kind("folders", "reconstruction", AUDIO_SUFFIXES, MOST_AUDIO_BYTES)
BITSTREAM = Kind("bitstreams", "bitstream", (), MOST_BYTES)
TOKENS = Kind("tokens", "token array", ENDS, MOST_BYTES)
LATENT = Kind("latents", "latent", (".npz",), MOST_BYTES)


KINDS = {kind.option: kind for kind in (BITSTREAM, TOKENS, LATENT)}
"""What rates follow from, by the option that names its folder."""


def find_audio(
    listing: Listing, places: Mapping[str, str], parts: Mapping[str, Part]
) -> dict[str, ClipFiles]:
    """The reconstruction of each clip; places, and parts that are taken, of the clips by name."""
    return {
        clip: _with_file(
            ClipFiles(clip, part=parts.get(clip)),
            listing,
            place,
            AUDIO,
            lambda files, one: replace(files, audio=one),
        )
        for clip, place in places.items()
    }


def add_coded(
    found: Mapping[str, ClipFiles], listing: Listing, places: Mapping[str, str], kind: Kind
) -> dict[str, ClipFiles]:
    """The same with a file of each clip that a rate follows from."""

    def put(files: ClipFiles, one: HashedFile) -> ClipFiles:
        return replace(files, coded={**files.coded, kind.option: one})

    return {
        clip: _with_file(files, listing, places[clip], kind, put) for clip, files in found.items()
    }


def add_sizes(
    found: Mapping[str, ClipFiles], sizes: Mapping[str, int | str], places: Mapping[str, str]
) -> dict[str, ClipFiles]:
    """The same with bytes by place; a text in their place is what is wrong with them."""
    added = {}
    for clip, files in found.items():
        size = sizes.get(places[clip], f"the table of bytes has no row for the clip {clip!r}")
        if isinstance(size, str):
            added[clip] = _failed(files, f"{size}; mend it, or leave the clip out")
        else:
            added[clip] = replace(files, size=size)
    return added


def _with_file(
    files: ClipFiles,
    listing: Listing,
    place: str,
    kind: Kind,
    put: Callable[[ClipFiles, HashedFile], ClipFiles],
) -> ClipFiles:
    own = files.audio.path if files.audio else None
    paths = [p for p in listing.at(place) if p != own and _ends(p, kind)]
    if problem := _problem(files.clip, paths, listing, place, kind):
        return _failed(files, problem)
    try:
        return put(files, HashedFile(paths[0], hash_file(paths[0])))
    except OSError as error:
        return _failed(files, f"{paths[0]} cannot be read ({error.strerror or error}); mend it")


def _problem(clip: str, paths: Sequence[Path], listing: Listing, place: str, kind: Kind) -> str:
    """What is wrong with the files that a clip has, or ""."""
    if not paths:
        ends = " or ".join(kind.ends) if 0 < len(kind.ends) < 3 else ".*"
        return (
            f"there is no {kind.name} of the clip {clip!r}: put {place}{ends} into "
            f"{listing.folder}, or leave the clip out"
        )
    if len(paths) > 1:
        named = " and ".join(path.name for path in paths)
        return (
            f"{listing.folder} has {len(paths)} files for the clip {clip!r} ({named}); keep the "
            f"one that is its {kind.name}"
        )
    (path,) = paths
    if listing.leaves(path):
        return f"{path} is a link out of its folder; put the file itself there"
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); mend it"
    if size > kind.most:
        return f"{path} has {size} bytes, and a {kind.name} may have {kind.most}; replace it"
    return ""


def _ends(path: Path, kind: Kind) -> bool:
    return not kind.ends or path.name.lower().endswith(kind.ends)


def _failed(files: ClipFiles, problem: str) -> ClipFiles:
    """The first that is found wrong with a clip is what its rows say."""
    return files if files.problem else replace(files, problem=problem)
