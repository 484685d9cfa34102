"""One file over https: whole or not at all, and taken up where a connection broke off.

What has come lies in a folder `.NAME.part` beside the file's final name, with the mark (ETag, or
the date of the last change) that the server gave of the version it sends. The next download asks
for the rest of that version alone; a server that has another one by now, or that gives no mark,
sends all of it again (RFC 9110, sections 13.1.5 and 14). A lock on the folder makes a second
download of the same file wait. General downloaders (pooch) follow redirects to http, take files of
any size, and know no beginnings of hashes, which is all that some authors publish.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from rdbench.files import user_path
from rdbench.types import DownloadError

CACHE = "RDBENCH_CACHE"
"""Environment variable: the folder that downloads are kept in."""

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_PARTIAL = 206
_SETTLED_S = 60.0  # by which a change must lie back for its second to name one version
_CONTENT, _MARK = "content", "etag"

Opener = Callable[[str, Mapping[str, str]], Any]
"""Opens a URL with headers; a readable context manager with `headers` and `status`."""

Progress = Callable[[int, int], None]
"""Is told the bytes that are here and those of the whole file, 0 where the server does not say."""


def cache_folder(what: str) -> Path:
    """Where downloads are kept: `what` in RDBENCH_CACHE, else in the user's cache folder (XDG).

    Raises DownloadError for a user who has none of them.
    """
    if own := os.environ.get(CACHE):
        return user_path(own) / what
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "rdbench" / what
    except RuntimeError:  # neither HOME nor an entry in passwd
        raise DownloadError(
            f"there is no home folder to keep {what} in; set {CACHE} to a folder"
        ) from None


def download(
    url: str,
    target: Path,
    check: Callable[[Path], None],
    opener: Opener,
    *,
    most: int,
    progress: Progress | None = None,
) -> None:
    """Brings the file at `url` to `target`, whose folder exists.

    check: raises for a file that is not the one wanted; it is called before the file gets its name,
    and what it refuses is removed. most: bytes that it may have.

    Raises:
        DownloadError: for an address that is not https, a file that is too large.
        OSError, ValueError, http.client.HTTPException: of the network; what came stays for the
            next download where the server can go on from there.
    """
    if urllib.parse.urlsplit(url).scheme != "https":
        raise DownloadError(f"{url} is not an https address; files are fetched by https only")
    _place(target, lambda folder: _Transfer(url, folder, most, progress).bring(opener), check)


def copy(source: Path, target: Path, check: Callable[[Path], None]) -> None:
    """Brings the file `source` to `target`, whose folder exists; raises OSError, and as `check`."""
    _place(target, lambda folder: _copy(source, folder), check)


def mirrored(url: str, variable: str) -> str:
    """The address below the mirror that the environment variable names, else `url` itself.

    Under a mirror files lie by host and path.

    >>> mirrored("https://example.org/v0/w.th", "RDBENCH_NO_MIRROR")
    'https://example.org/v0/w.th'
    """
    mirror = os.environ.get(variable)
    if not mirror:
        return url
    parts = urllib.parse.urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def bytes_here(target: Path) -> int:
    """How much of the file has come, of one whose download broke off and can be taken up."""
    return _bytes_in(target.with_name(f".{target.name}.part"))


def size_of(url: str) -> int | None:
    """Bytes of the file at `url` as its server says; None where it does not, or is not reached."""
    try:
        with open_https(url, {}, method="HEAD") as response:
            return int(response.headers["Content-Length"])
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return None


def open_https(url: str, headers: Mapping[str, str], *, method: str = "GET") -> Any:
    """Opens `url`; redirects stay with https."""
    named = {"User-Agent": "rdbench", **headers}
    request = urllib.request.Request(url, headers=named, method=method)
    return urllib.request.build_opener(_HttpsOnly).open(request, timeout=_TIMEOUT_S)


def _place(target: Path, bring: Callable[[Path], None], check: Callable[[Path], None]) -> None:
    with alone(target.with_name(f".{target.name}.part")) as folder:
        if target.is_file():  # another process brought it in the meantime
            return
        kept = False
        try:
            try:
                bring(folder)
            except DownloadError:
                raise
            except BaseException:  # an impatient Ctrl-C among them
                kept = (folder / _MARK).exists()
                raise
            check(folder / _CONTENT)
            (folder / _CONTENT).replace(target)
        finally:
            if not kept:
                for path in folder.iterdir():
                    path.unlink(missing_ok=True)


def _copy(source: Path, folder: Path) -> None:
    shutil.copyfile(source, folder / _CONTENT)


class _Transfer:
    """One file on its way into the folder of its download."""

    def __init__(self, url: str, folder: Path, most: int, progress: Progress | None) -> None:
        self._url, self._most = url, most
        self._partial, self._mark = folder / _CONTENT, folder / _MARK
        self._progress = progress

    def bring(self, opener: Opener) -> None:
        """Brings what is not here yet."""
        partial, mark = self._partial, self._mark
        have = _bytes_in(partial.parent)
        asked = {"Range": f"bytes={have}-", "If-Range": mark.read_text()} if have else {}
        try:
            opened = opener(self._url, asked)
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            opened = opener(self._url, {})  # it was all there
        with opened as response:
            if response.status != _PARTIAL:
                have = 0
                _keep_mark(response.headers, mark)
            length = int(response.headers.get("Content-Length") or -1)
            with partial.open("ab" if have else "wb") as out:
                self._receive(response, out, have, have + length if length >= 0 else -1)
                out.flush()
                os.fsync(out.fileno())

    def _receive(self, response: Any, out: IO[bytes], have: int, expected: int) -> None:
        while chunk := response.read(_CHUNK):
            have += len(chunk)
            if max(have, expected) > self._most:
                raise DownloadError(
                    f"{self._url} is larger than {self._most} bytes and was not downloaded; "
                    f"it cannot be the published file"
                )
            out.write(chunk)
            if self._progress is not None:
                self._progress(have, max(expected, 0))
        if have < expected:
            raise ValueError(f"the connection ended after {have} of {expected} bytes")


def _bytes_in(folder: Path) -> int:
    partial = folder / _CONTENT
    return partial.stat().st_size if partial.exists() and (folder / _MARK).exists() else 0


def _keep_mark(headers: Any, mark: Path) -> None:
    """Of a weak mark two versions may share one; none is kept of it."""
    etag = headers.get("ETag")
    if etag and etag.startswith('"'):
        mark.write_text(etag)
    elif not etag and (date := _settled(headers)):
        mark.write_text(date)
    else:
        mark.unlink(missing_ok=True)


def _settled(headers: Any) -> str:
    """The date of the last change, where the file was not changed shortly before; else ""."""
    changed, now = headers.get("Last-Modified"), headers.get("Date")
    try:
        age = parsedate_to_datetime(now) - parsedate_to_datetime(changed)
        return str(changed) if age.total_seconds() >= _SETTLED_S else ""
    except (TypeError, ValueError):
        return ""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """A folder to work in, made and held against other processes; gone when it is empty."""
    while True:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                break
        os.close(descriptor)  # another process has removed it while this one waited
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()
        os.close(descriptor)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917  (urllib's own signature)
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
