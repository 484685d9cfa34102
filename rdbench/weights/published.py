"""Published weights as files: what they are, where they lie, and how they are downloaded.

Nothing is downloaded that nobody asked for by name: `locate` finds what is in the cache, and raises
`NotFetchedError` with what can be fetched; `rdbench weights fetch` and `--allow-download` do that.
`fetch` downloads a file through a temporary name and checks its hash where its authors publish one.
General downloaders (pooch) follow redirects to http, take files of any size, and know no beginnings
of hashes, which is all that some authors publish.
What is in a file is `rdbench.weights.checkpoints`' matter.
"""

from __future__ import annotations

import http.client
import os
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from rdbench.files import is_file, is_folder, user_path
from rdbench.identity import file_sha256
from rdbench.interrupts import before_the_end
from rdbench.types import WeightsError
from rdbench.weights.formats import MAX_BYTES, check_format, reason_of

PRETRAINED = "pretrained"
"""The value of `weights` that means the published file."""

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0

Opener = Callable[[str], Any]
"""Opens a URL and returns a readable context manager with `headers`, as `urlopen` does."""


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
    def hash_note(self) -> str:
        """What is known of the hash, for messages."""
        if self.sha256 is None:
            return "its authors publish no hash"
        return f"its SHA-256 begins with {self.sha256}"


def cache_folder() -> Path:
    """Where downloads are kept: RDBENCH_CACHE, else the user's cache folder (XDG).

    Raises WeightsError for a user who has none of them.
    """
    if own := os.environ.get("RDBENCH_CACHE"):
        return user_path(own) / "weights"
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "rdbench" / "weights"
    except RuntimeError:  # neither HOME nor an entry in passwd
        raise WeightsError(
            "there is no home folder to keep published weights in; set RDBENCH_CACHE to a folder"
        ) from None


class Download(Protocol):
    """What is published and can be fetched."""

    @property
    def name(self) -> str:
        """What `rdbench weights fetch` is told."""

    def fetch(self, say: Callable[[str], None]) -> None:
        """Downloads it into the cache; `say` is told from where, its size, revision and hash.

        Raises WeightsError.
        """


@dataclass(frozen=True)
class PublishedDownload:
    """The published file of a codec."""

    name: str
    file: WeightsFile

    def fetch(self, say: Callable[[str], None]) -> None:
        """See `Download`; the revision is part of the address."""
        say(f"fetching {self.file.filename} from {self.file.url}")
        path = fetch(self.file)
        say(
            f"{path}: {path.stat().st_size} bytes, SHA-256 {file_sha256(path)} "
            f"({self.file.hash_note})"
        )


class NotFetchedError(WeightsError):
    """Published weights that are not on this machine. download: what fetches them."""

    def __init__(self, message: str, download: Download) -> None:
        super().__init__(message, download)
        self.download = download

    def __str__(self) -> str:
        return str(self.args[0])


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

    The download is written beside its final name, flushed, checked and renamed, so that an
    interrupted one leaves nothing at the final name.

    Raises:
        WeightsError: without a network, for a file that is too large, cut short, not a
            checkpoint, or of another hash than the published one.
    """
    target = (cache_dir or cache_folder()) / file.filename
    if _is_cached(target, file):
        return target
    if urllib.parse.urlsplit(file.url).scheme != "https":
        raise WeightsError(f"{file.url} is not an https address; weights are fetched by https only")
    # Not a `tempfile`: the result keeps the permissions that the user's umask gives.
    temporary = target.with_name(f".{file.filename}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        out = temporary.open("xb")
    except OSError as error:
        raise WeightsError(
            f"the cache folder {target.parent} cannot be written ({error.strerror}); "
            f"set RDBENCH_CACHE to a folder that can"
        ) from error
    try:
        with out, before_the_end(partial(temporary.unlink, missing_ok=True)):
            _download(file, target, out, opener or _open_https)
            out.flush()
            os.fsync(out.fileno())
        with temporary.open("rb") as stream:
            check_format(stream, file.url)
        _check_hash(temporary, target, file)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


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


def _download(file: WeightsFile, target: Path, out: IO[bytes], opener: Opener) -> None:
    received = 0
    try:
        with opener(file.url) as response:
            expected = int(response.headers.get("Content-Length") or -1)
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                if max(received, expected) > MAX_BYTES:
                    raise WeightsError(
                        f"{file.url} is larger than {MAX_BYTES} bytes and was not downloaded; "
                        f"it cannot be the published file"
                    )
                out.write(chunk)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WeightsError(_unreachable(file, target, reason_of(error))) from error
    if received < expected:
        reason = f"the connection ended after {received} of {expected} bytes"
        raise WeightsError(_unreachable(file, target, reason))


def _unreachable(file: WeightsFile, target: Path, reason: str) -> str:
    return (
        f"weights file {file.filename} could not be downloaded ({reason}): fetch {file.url} "
        f"elsewhere and put it at {target} ({file.hash_note})"
    )


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open_https(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "rdbench"})
    return urllib.request.build_opener(_HttpsOnly).open(request, timeout=_TIMEOUT_S)


def _check_hash(path: Path, target: Path, file: WeightsFile) -> None:
    if file.sha256 is None:
        return
    actual = file_sha256(path)
    if not actual.startswith(file.sha256):
        raise WeightsError(
            f"weights file {file.filename} has SHA-256 {actual}, which does not begin with the "
            f"published {file.sha256}: fetch {file.url} again and put it at {target}"
        )
