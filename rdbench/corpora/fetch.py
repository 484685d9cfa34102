"""Brings a public corpus here: every archive whole and checked, then unpacked, then in its place.

What comes lies in `.NAME.part` beside the corpus until all of it is there, and is taken up by the
next fetch after whatever ended this one. A file `rdbench-corpus.json` in the corpus says where it
came from and what each file held, so that `rdbench corpora check` can tell later.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from rdbench import download
from rdbench.corpora.clips import corpus_of
from rdbench.corpora.entries import Archive, Entry, File, size_text
from rdbench.corpora.places import Record, place_of, read_record
from rdbench.corpora.unpack import unpack
from rdbench.download import Opener, Progress
from rdbench.files import is_file, open_regular, user_path
from rdbench.text import first_line
from rdbench.types import DownloadError, SpecError

MIRROR = "RDBENCH_CORPORA_MIRROR"
"""Environment variable: an https address under which archives lie by host and path."""
MOST_BYTES = 2**37
"""Of one archive."""
_BLOCK = 2**20

Say = Callable[[str], None]


def fetch(
    known: Entry,
    *,
    folder: Path | None = None,
    source: Path | None = None,
    say: Say,
    opener: Opener | None = None,
    progress: Callable[[str], Progress] | None = None,
    keep_archives: bool = False,
) -> Path:
    """The folder of the corpus, brought here where it is not.

    folder: which it gets; None is its place among the corpora. source: a folder with archives that
    were fetched elsewhere. say: is told what comes from where. progress: makes what is told how far
    a file is. keep_archives: whether they stay, in `.NAME.part`.

    Raises DownloadError for a corpus that is to be had by hand alone, what is not as it was
    published, an archive that is not safe, and without a network or room on the disk.
    """
    if known.by_hand and (source is None or not known.archives):
        then = "name its folder with `path` in the spec"
        if known.archives:
            then = "`--from FOLDER` takes and checks it then"
        raise DownloadError(f"{known.name} is had by hand alone ({known.by_hand}); {then}")
    place = place_of(known.name) if folder is None else folder.absolute()
    if _is_in(known, place):
        say(f"{known.name} is in {place}")
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with download.alone(place.with_name(f".{place.name}.part")) as part:
            if not _is_in(known, place):  # another process brought it in the meantime
                _bring(known, place, part, _Source(part, source, opener, say, progress))
                if not keep_archives:
                    _clear(part)
    except OSError as error:
        raise DownloadError(
            f"{known.name} cannot be put into {place} ({error.strerror or first_line(error)}); "
            "make room or mend its permissions, or name another folder with --data"
        ) from error
    return place


def _is_in(known: Entry, place: Path) -> bool:
    """Whether a fetch has brought the corpus there; raises DownloadError for something else."""
    record = read_record(place)
    if record is not None and record.corpus == known.name:
        return True
    if os.path.lexists(place):
        made = "no fetch has made it" if record is None else f"holds the corpus {record.corpus}"
        raise DownloadError(
            f"{place} is there and {made}; `rdbench corpora check {known.name} "
            "--data FOLDER` says whether it is the corpus, or name another folder with --data"
        )
    return False


def _bring(known: Entry, place: Path, part: Path, source: _Source) -> None:
    source.check_room(known)
    new = part / "new"
    shutil.rmtree(new, ignore_errors=True)
    archives: dict[str, tuple[int, str]] = {}
    paths = []
    for archive in known.archives:
        brought = [source.file(one) for one in archive.parts]
        archives |= {one.url: held for one, (_, held) in zip(archive.parts, brought, strict=True)}
        paths.append([path for path, _ in brought])
    new.mkdir()
    files: dict[str, tuple[int, str]] = {}
    try:
        for archive, here in zip(known.archives, paths, strict=True):
            try:
                files |= _put(archive, here, new, archives, source.say)
            except DownloadError:
                source.forget(archive)
                raise
        _check_layout(known, new)
        Record(known.name, known.digest, archives, files).write(new)
        new.replace(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _check_layout(known: Entry, new: Path) -> None:
    try:
        corpus_of(known, new)
    except SpecError as error:
        raise DownloadError(
            f"{known.name} came as it was published, and is not laid out as rdbench knows it: "
            f"{error} (the archives stay in {new.parent}; please report it)"
        ) from error


def _put(
    archive: Archive, parts: list[Path], new: Path, held: Mapping[str, tuple[int, str]], say: Say
) -> dict[str, tuple[int, str]]:
    """Puts an archive's files into the folder; returns what each holds."""
    if not archive.unpack:
        shutil.copyfile(parts[0], new / archive.name)
        return {archive.name: held[archive.url]}
    say(f"unpacking {archive.name}")
    wanted = re.compile(archive.members or ".*", re.DOTALL)
    found = unpack(parts, new, lambda path: wanted.fullmatch(path) is not None)
    if found.left_out:
        say(f"{archive.name}: {found.left_out} links and devices were left out")
    if not found.files:
        raise DownloadError(f"{archive.name} holds nothing of the corpus; please report it")
    return found.files


class _Source:
    """Where archives come from: a folder, or the network."""

    def __init__(
        self,
        part: Path,
        folder: Path | None,
        opener: Opener | None,
        say: Say,
        progress: Callable[[str], Progress] | None,
    ) -> None:
        self._part, self._folder = part, None if folder is None else user_path(folder)
        self._opener, self.say = opener or download.open_https, say
        self._progress = progress

    def check_room(self, known: Entry) -> None:
        """Raises DownloadError where what is to come, and about as much unpacked, has no room."""
        coming = 0
        for archive in known.archives:
            for one in archive.parts:
                size = one.bytes or 0
                unpacked = 0 if archive.members else size  # a part of it, known when it is here
                coming += unpacked + max(0, size - self._here(one))
        free = shutil.disk_usage(self._part).free
        if coming > free:
            raise DownloadError(
                f"{known.name} takes about {size_text(coming)}, and {self._part.parent} has room "
                f"for {size_text(free)}; make room, or name another folder with --data"
            )

    def _here(self, file: File) -> int:
        """Bytes of a file that need not come."""
        if self._folder is not None:
            return file.bytes or 0
        path = self._part / file.name
        return path.stat().st_size if is_file(path) else download.bytes_here(path)

    def file(self, file: File) -> tuple[Path, tuple[int, str]]:
        """A file, and its bytes and SHA-256; raises DownloadError for another than is published."""
        if self._folder is not None:
            path = self._folder / file.name
            if not is_file(path):
                raise DownloadError(
                    f"{self._folder} has no {file.name}; fetch {file.url} elsewhere and put it "
                    "there"
                )
            self.say(f"taking {file.name} from {self._folder}")
        else:
            path = self._part / file.name
            if not is_file(path):
                self._download(file, path)
        try:
            return path, _held(path, file, self.say)
        except DownloadError:
            if self._folder is None:  # what is somebody's own stays
                path.unlink(missing_ok=True)
            raise

    def forget(self, archive: Archive) -> None:
        """Lets an archive that cannot be unpacked be fetched again, unless it is as published."""
        for one in archive.parts:
            if self._folder is None and not (one.sha256 or one.md5):
                (self._part / one.name).unlink(missing_ok=True)

    def _download(self, file: File, path: Path) -> None:
        address = download.mirrored(file.url, MIRROR)
        size = f" ({file.bytes / 1e6:.0f} MB)" if file.bytes else ""
        self.say(f"fetching {file.name}{size} from {address}")
        try:
            download.download(
                address,
                path,
                _checked_later,
                self._opener,
                most=file.bytes or MOST_BYTES,
                progress=self._progress(file.name) if self._progress else None,
            )
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise DownloadError(
                f"{file.name} could not be fetched ({first_line(error)}): what came is kept; try "
                f"again, or fetch {file.url} elsewhere and name its folder with --from"
            ) from error


def _checked_later(new: Path) -> None:
    """What has come is checked as what was here before is."""


def _held(path: Path, file: File, say: Say) -> tuple[int, str]:
    """Bytes and SHA-256 of a file; raises DownloadError for another than was published."""
    hashes = {"SHA-256": hashlib.sha256(), "MD5": hashlib.md5(usedforsecurity=False)}
    size = 0
    with open_regular(path) as content:
        while block := content.read(_BLOCK):
            size += len(block)
            for one in hashes.values():
                one.update(block)
    found = {kind: one.hexdigest() for kind, one in hashes.items()}
    published = {"SHA-256": file.sha256, "MD5": file.md5}
    for kind, value in {"bytes": file.bytes, **published}.items():
        actual = size if kind == "bytes" else found[kind]
        if value not in (None, actual):
            named = f"has {actual} bytes" if kind == "bytes" else f"has {kind} {actual}"
            raise DownloadError(
                f"{path.name} {named}, and {value} is published ({file.found}); fetch it again, "
                "and if it stays so its publisher has changed it"
            )
    known = [kind for kind, value in published.items() if value]
    told = (
        f"as published ({' and '.join(known)})" if known else "no checksum is published: recorded"
    )
    say(f"{path.name}: {size} bytes, SHA-256 {found['SHA-256']}, {told}")
    return size, found["SHA-256"]


def _clear(part: Path) -> None:
    for path in part.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
