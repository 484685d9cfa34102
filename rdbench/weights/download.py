"""One file over https: whole or not at all, and taken up where a connection broke off.

What has come lies in a folder `.NAME.part` beside the file's final name, with the mark (ETag) that
the server gave of the version it sends. The next download asks for the rest of that version alone;
a server that has another one by now, or that gives no mark, sends all of it again (RFC 9110,
sections 13.1.5 and 14). A lock on the folder makes a second download of the same file wait. General
downloaders (pooch) follow redirects to http, take files of any size, and know no beginnings of
hashes, which is all that some authors publish.
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
from pathlib import Path
from typing import IO, Any

from rdbench.types import WeightsError
from rdbench.weights.formats import MAX_BYTES

MIRROR = "RDBENCH_WEIGHTS_MIRROR"
"""Environment variable: an https address under which files lie by host and path."""

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_PARTIAL = 206
_CONTENT, _MARK = "content", "etag"

Opener = Callable[[str, Mapping[str, str]], Any]
"""Opens a URL with headers; a readable context manager with `headers` and `status`."""


def download(url: str, target: Path, check: Callable[[Path], None], opener: Opener) -> None:
    """Brings the file at `url` to `target`, whose folder exists.

    check: raises for a file that is not the one wanted; it is called before the file gets its name,
    and what it refuses is removed.

    Raises:
        WeightsError: for an address that is not https, a file that is too large.
        OSError, ValueError, http.client.HTTPException: of the network; what came stays for the
            next download where the server can go on from there.
    """
    address = mirrored(url)
    if urllib.parse.urlsplit(address).scheme != "https":
        raise WeightsError(f"{address} is not an https address; weights are fetched by https only")
    _place(target, lambda folder: _bring(address, folder, opener), check)


def copy(source: Path, target: Path, check: Callable[[Path], None]) -> None:
    """Brings the file `source` to `target`, whose folder exists; raises OSError, and as `check`."""
    _place(target, lambda folder: _copy(source, folder), check)


def mirrored(url: str) -> str:
    """The address below the mirror that RDBENCH_WEIGHTS_MIRROR names, else `url` itself.

    >>> mirrored("https://example.org/v0/w.th")
    'https://example.org/v0/w.th'
    """
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return url
    parts = urllib.parse.urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def size_of(url: str) -> int | None:
    """Bytes of the file at `url` as its server says; None where it does not, or is not reached."""
    try:
        with open_https(mirrored(url), {}, method="HEAD") as response:
            return int(response.headers["Content-Length"])
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return None


def open_https(url: str, headers: Mapping[str, str], *, method: str = "GET") -> Any:
    """Opens `url`; redirects stay with https."""
    named = {"User-Agent": "rdbench", **headers}
    request = urllib.request.Request(url, headers=named, method=method)
    return urllib.request.build_opener(_HttpsOnly).open(request, timeout=_TIMEOUT_S)


def _place(target: Path, bring: Callable[[Path], None], check: Callable[[Path], None]) -> None:
    with _alone(target.with_name(f".{target.name}.part")) as folder:
        if target.is_file():  # another process brought it in the meantime
            return
        kept = False
        try:
            try:
                bring(folder)
            except (OSError, ValueError, http.client.HTTPException):
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


def _bring(url: str, folder: Path, opener: Opener) -> None:
    partial, mark = folder / _CONTENT, folder / _MARK
    have = partial.stat().st_size if partial.exists() and mark.exists() else 0
    asked = {"Range": f"bytes={have}-", "If-Range": mark.read_text()} if have else {}
    try:
        opened = opener(url, asked)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        opened = opener(url, {})  # it was all there
    with opened as response:
        if response.status != _PARTIAL:
            have = 0
            _keep_mark(response.headers.get("ETag"), mark)
        length = int(response.headers.get("Content-Length") or -1)
        with partial.open("ab" if have else "wb") as out:
            _receive(response, out, have, have + length if length >= 0 else -1, url)
            out.flush()
            os.fsync(out.fileno())


def _receive(response: Any, out: IO[bytes], have: int, expected: int, url: str) -> None:
    while chunk := response.read(_CHUNK):
        have += len(chunk)
        if max(have, expected) > MAX_BYTES:
            raise WeightsError(
                f"{url} is larger than {MAX_BYTES} bytes and was not downloaded; "
                f"it cannot be the published file"
            )
        out.write(chunk)
    if have < expected:
        raise ValueError(f"the connection ended after {have} of {expected} bytes")


def _keep_mark(etag: str | None, mark: Path) -> None:
    """Of a weak mark two versions may share one; none is kept of it."""
    if etag and etag.startswith('"'):
        mark.write_text(etag)
    else:
        mark.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder of a download, held against other processes; gone when it is empty."""
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
