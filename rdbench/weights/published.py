"""Published weights as files: what they are, where they lie, and how they get there.

Nothing is downloaded that nobody asked for by name: `locate` finds what is in the cache, and raises
`NotFetchedError` with what can be fetched; `rdbench weights fetch` and `--allow-download` do that.
`fetch` downloads a file (`rdbench.download`) and checks its hash where its authors publish
one; `take` copies it from a folder. What is in a file is `rdbench.weights.checkpoints`' matter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from rdbench import download
from rdbench.download import Opener, open_https
from rdbench.files import is_file, is_folder, user_path
from rdbench.identity import file_sha256
from rdbench.types import DownloadError, WeightsError
from rdbench.weights.formats import MAX_BYTES, check_format, reason_of

Built = TypeVar("Built")

MIRROR = "RDBENCH_WEIGHTS_MIRROR"
"""Environment variable: an https address under which files lie by host and path."""
PRETRAINED = "pretrained"
"""The value of `weights` that means the published file."""


@dataclass(frozen=True)
class WeightsFile:
    """A published weights file.

    url: https address. filename: its name in the cache. sha256: the published hash or the
    published beginning of it, None where the authors publish none. licence: as the authors state
    it.
    """

    url: str
    filename: str
    sha256: str | None
    licence: str

    @property
    def address(self) -> str:
        """Where it is fetched from: the url, or the same below a mirror."""
        return download.mirrored(self.url, MIRROR)

    @property
    def hash_note(self) -> str:
        """What is known of the hash, for messages."""
        if self.sha256 is None:
            return "its authors publish no hash"
        return f"its SHA-256 begins with {self.sha256}"


def cache_folder() -> Path:
    """Where downloads are kept; raises WeightsError where there is no such place."""
    try:
        return download.cache_folder("weights")
    except DownloadError as error:
        raise WeightsError(str(error)) from None


class Download(Protocol):
    """What is published and can be fetched."""

    @property
    def name(self) -> str:
        """What `rdbench weights fetch` is told."""

    def tell(self, say: Callable[[str], None]) -> None:
        """Tells `say` what would come from where: files, sizes, hash, licence.

        Raises WeightsError where that cannot be known without a network that is not there.
        """

    def fetch(self, say: Callable[[str], None]) -> None:
        """Downloads it into the cache; `say` is told from where, its size, revision and hash.

        Raises WeightsError.
        """

    def take(self, folder: Path, say: Callable[[str], None]) -> None:
        """Copies it into the cache from a folder of files that were fetched elsewhere.

        Raises WeightsError.
        """


@dataclass(frozen=True)
class PublishedDownload:
    """The published file of a codec."""

    name: str
    file: WeightsFile

    def tell(self, say: Callable[[str], None]) -> None:
        """See `Download`; the size is the server's word."""
        size = download.size_of(self.file.address)
        say(
            f"{self.name}: {self.file.filename} from {self.file.url}, "
            f"{f'{size} bytes' if size else 'of a size that was not told'}, {self.file.hash_note}; "
            f"licence: {self.file.licence}"
        )

    def fetch(self, say: Callable[[str], None]) -> None:
        """See `Download`; the revision is part of the address."""
        say(f"fetching {self.file.filename} from {self.file.address}")
        self._say(fetch(self.file), say)

    def take(self, folder: Path, say: Callable[[str], None]) -> None:
        """See `Download`."""
        say(f"taking {self.file.filename} from {folder}")
        self._say(take(self.file, folder), say)

    def _say(self, path: Path, say: Callable[[str], None]) -> None:
        say(
            f"{path}: {path.stat().st_size} bytes, SHA-256 {file_sha256(path)} "
            f"({self.file.hash_note})"
        )


class NotFetchedError(WeightsError):
    """Published weights that are not on this machine. downloads: what fetches all of them."""

    def __init__(self, message: str, *downloads: Download) -> None:
        super().__init__(message, *downloads)
        self.downloads = downloads

    def __str__(self) -> str:
        return str(self.args[0])


def with_downloads(build: Callable[[], Built], fetching: Callable[[str], None] | None) -> Built:
    """What `build` makes; what it lacks of published weights is fetched, where `fetching` is told.

    Raises NotFetchedError where nothing may be fetched, and WeightsError where that fails.
    """
    try:
        return build()
    except NotFetchedError:
        if fetching is None:
            raise
    with _one_at_a_time():
        try:
            return build()  # another process may have fetched it meanwhile
        except NotFetchedError as error:
            for one in error.downloads:
                one.fetch(fetching)
        return build()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Processes of this machine (of all that share its cache) fetch one after the other."""
    _make_cache(cache_folder())
    with (cache_folder() / ".lock").open("ab") as lock:
        with contextlib.suppress(OSError):  # a network's file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def locate(weights: str | os.PathLike[str], file: WeightsFile, codec: str) -> Path:
    """The file that `weights` means: "pretrained" (the one in the cache), or an existing path.

    A folder means the published name within it. Raises NotFetchedError where the published file is
    not in the cache, and WeightsError where there is no such file.
    """
    if weights == PRETRAINED:
        target = cache_folder() / file.filename
        if not _is_cached(target, file):
            raise NotFetchedError(
                f"weights file {file.filename} is not on this machine; `rdbench weights fetch "
                f"{codec}` or --allow-download fetches it from {file.url}",
                PublishedDownload(codec, file),
            )
        return target
    path = user_path(weights)
    if is_folder(path):
        path = path / file.filename
    if not is_file(path):
        raise WeightsError(
            f"weights file {path} does not exist; "
            f"give the path of a checkpoint, or {PRETRAINED!r} for {file.url}"
        )
    return path


def fetch(
    file: WeightsFile, *, cache_dir: Path | None = None, opener: Opener | None = None
) -> Path:
    """The published file in the cache, downloaded where it is absent.

    It gets its name there when it is whole and found to be what was published; an interrupted
    download leaves nothing at that name, and is taken up by the next one.

    Raises:
        WeightsError: without a network, for a file that is too large, cut short, not a
            checkpoint, or of another hash than the published one.
    """
    target = (cache_dir or cache_folder()) / file.filename
    if _is_cached(target, file):
        return target
    _make_cache(target.parent)
    try:
        check = partial(_check, name=file.url, target=target, file=file)
        download.download(file.address, target, check, opener or open_https, most=MAX_BYTES)
    except DownloadError as error:
        raise WeightsError(str(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WeightsError(
            f"weights file {file.filename} could not be downloaded ({reason_of(error)}): fetch "
            f"{file.url} elsewhere and put it at {target} ({file.hash_note})"
        ) from error
    return target


def take(file: WeightsFile, folder: Path, *, cache_dir: Path | None = None) -> Path:
    """The published file in the cache, copied from `folder`, where it has its published name.

    Raises WeightsError where it is not there, or is another file.
    """
    source = user_path(folder) / file.filename
    target = (cache_dir or cache_folder()) / file.filename
    if not is_file(source):
        raise WeightsError(
            f"{folder} has no {file.filename}; fetch {file.url} elsewhere and put it there "
            f"({file.hash_note})"
        )
    if not _is_cached(target, file):
        _make_cache(target.parent)
        try:
            download.copy(
                source, target, partial(_check, name=str(source), target=target, file=file)
            )
        except OSError as error:
            raise WeightsError(
                f"{source} could not be copied to {target} ({reason_of(error)}); make room there, "
                "or set RDBENCH_CACHE to another folder"
            ) from error
    return target


def _make_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise WeightsError(
            f"the cache folder {folder} cannot be written ({error.strerror}); "
            f"set RDBENCH_CACHE to a folder that can"
        ) from error


def _check(path: Path, *, name: str, target: Path, file: WeightsFile) -> None:
    with path.open("rb") as stream:
        check_format(stream, name)
    _check_hash(path, target, file)


def _is_cached(target: Path, file: WeightsFile) -> bool:
    """Whether the published file is in the cache; raises WeightsError for another one there."""
    try:
        if not target.is_file():
            return False
        _check_hash(target, target, file)
    except OSError as error:
        raise WeightsError(
            f"the weights file {target} cannot be read ({error.strerror}); change its permissions "
            "and those of its folders, or set RDBENCH_CACHE to another folder"
        ) from error
    return True


def _check_hash(path: Path, target: Path, file: WeightsFile) -> None:
    if file.sha256 is None:
        return
    actual = file_sha256(path)
    if not actual.startswith(file.sha256):
        raise WeightsError(
            f"weights file {file.filename} has SHA-256 {actual}, which does not begin with the "
            f"published {file.sha256}: fetch {file.url} again and put it at {target}"
        )
