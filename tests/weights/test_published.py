"""Downloads are whole or absent, and what is wrong is one sentence."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pwd
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import torch

from rdbench import download
from rdbench.types import WeightsError
from rdbench.weights.published import WeightsFile, cache_folder, fetch, locate, take


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.randn(3, 4), "bias": torch.randn(3)}, path)
    return path


class Response(io.BytesIO):
    """What an opened URL looks like; `failing_after` bytes the connection breaks."""

    def __init__(
        self,
        content: bytes,
        *,
        length: int | None = None,
        failing_after: int | None = None,
        status: int = 200,
        etag: str | None = None,
    ) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if length is None else length)}
        if etag is not None:
            self.headers["ETag"] = etag
        self.status = status
        self.failing_after = failing_after

    def read(self, size: int | None = -1, /) -> bytes:
        if self.failing_after is not None:
            if self.tell() >= self.failing_after:
                raise ConnectionResetError(104, "Connection reset by peer")
            size = self.failing_after
        return super().read(size)


def serving(content: bytes, **options: Any) -> Callable[[str, Mapping[str, str]], Response]:
    return lambda url, headers: Response(content, **options)


def no_network(url: str, headers: Mapping[str, str]) -> Response:
    raise OSError("Name or service not known")


def published(content: bytes | None = None, url: str = "https://example.org/w.th") -> WeightsFile:
    digest = None if content is None else hashlib.sha256(content).hexdigest()[:8]
    return WeightsFile(url, "model-w.th", digest, "MIT")


def test_a_download_is_kept_and_then_used_without_a_network(
    tmp_path: Path, checkpoint: Path
) -> None:
    content = checkpoint.read_bytes()
    file, folder = published(content), tmp_path / "cache"
    path = fetch(file, cache_dir=folder, opener=serving(content))
    assert path == folder / "model-w.th"
    assert path.read_bytes() == content
    assert fetch(file, cache_dir=folder, opener=no_network) == path
    assert [p.name for p in folder.iterdir()] == ["model-w.th"]


def test_without_a_network_one_sentence_names_file_source_destination_and_hash(
    tmp_path: Path,
) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(published(b"x"), cache_dir=tmp_path, opener=no_network)
    message = str(caught.value)
    for part in ("model-w.th", "https://example.org/w.th", str(tmp_path / "model-w.th")):
        assert part in message
    assert "SHA-256 begins with 2d711642" in message
    assert "Name or service not known" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"failing_after": 50}, {"length": 10**6}])
def test_an_interrupted_download_leaves_nothing_behind(
    tmp_path: Path, checkpoint: Path, options: dict[str, int]
) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch(published(), cache_dir=folder, opener=serving(checkpoint.read_bytes(), **options))
    assert list(folder.iterdir()) == []


class Server:
    """Sends a content with a mark, from where it is asked to; the first answer breaks off."""

    def __init__(self, content: bytes, etag: str = '"1"') -> None:
        self.content, self.etag = content, etag
        self.asked: list[Mapping[str, str]] = []
        self.failing: int | None = 300

    def __call__(self, url: str, headers: Mapping[str, str]) -> Response:
        self.asked.append(headers)
        failing, self.failing = self.failing, None
        if headers.get("If-Range") != self.etag:
            return Response(self.content, etag=self.etag, failing_after=failing)
        start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.content):
            raise HTTPError(url, 416, "Range Not Satisfiable", Message(), None)
        return Response(self.content[start:], etag=self.etag, status=206)


def test_a_download_that_broke_off_is_taken_up(tmp_path: Path, checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    server, file = Server(content), published(content)
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch(file, cache_dir=tmp_path / "cache", opener=server)
    path = fetch(file, cache_dir=tmp_path / "cache", opener=server)
    assert server.asked == [{}, {"Range": "bytes=300-", "If-Range": '"1"'}]
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_date_of_long_ago_names_a_version_where_there_is_no_mark(tmp_path: Path) -> None:
    content, asked = bytes(1000), []
    date = "Tue, 03 Jun 2014 05:30:00 GMT"

    def opener(url: str, headers: Mapping[str, str]) -> Response:
        asked.append(headers)
        whole = not headers
        answer = Response(content if whole else content[300:], status=200 if whole else 206,
                          failing_after=300 if whole else None)  # fmt: skip
        answer.headers |= {"Last-Modified": date, "Date": "Tue, 03 Jun 2014 05:40:00 GMT"}
        return answer

    target = tmp_path / "file"
    for attempt in (1, 2):
        with contextlib.suppress(OSError):
            download.download("https://a.org/w", target, lambda path: None, opener, most=10**4)
        assert target.exists() == (attempt == 2)
    assert asked == [{}, {"Range": "bytes=300-", "If-Range": date}]
    assert target.read_bytes() == content


def test_another_version_than_the_one_that_broke_off_is_sent_whole(
    tmp_path: Path, checkpoint: Path
) -> None:
    content = checkpoint.read_bytes()
    server = Server(bytes(400) + content)
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch(published(), cache_dir=tmp_path / "cache", opener=server)
    server.content, server.etag = content, '"2"'
    path = fetch(published(content), cache_dir=tmp_path / "cache", opener=server)
    assert path.read_bytes() == content


def test_a_download_that_ended_before_it_was_checked_is_fetched_again(
    tmp_path: Path, checkpoint: Path
) -> None:
    content = checkpoint.read_bytes()
    folder = tmp_path / ".model-w.th.part"
    folder.mkdir()
    (folder / "content").write_bytes(content)
    (folder / "etag").write_text('"1"')
    server = Server(content)
    server.failing = None
    assert fetch(published(content), cache_dir=tmp_path, opener=server).read_bytes() == content


def test_what_is_refused_is_not_taken_up(tmp_path: Path, checkpoint: Path) -> None:
    server = Server(checkpoint.read_bytes())
    server.failing = None
    with pytest.raises(WeightsError, match="does not begin with the published"):
        fetch(published(b"other"), cache_dir=tmp_path / "cache", opener=server)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_mirror_stands_in_for_every_host(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def opener(url: str, headers: Mapping[str, str]) -> Response:
        asked.append(url)
        return Response(checkpoint.read_bytes())

    monkeypatch.setenv("RDBENCH_WEIGHTS_MIRROR", "https://mirror.local/files/")
    fetch(published(), cache_dir=tmp_path / "cache", opener=opener)
    assert asked == ["https://mirror.local/files/example.org/w.th"]


def test_a_folder_stands_in_for_the_network(tmp_path: Path, checkpoint: Path) -> None:
    folder, cache, content = tmp_path / "usb", tmp_path / "cache", checkpoint.read_bytes()
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"usb has no model-w.th; fetch https://example.org/w"):
        take(published(content), folder, cache_dir=cache)
    (folder / "model-w.th").write_bytes(b"PK something else")
    with pytest.raises(WeightsError, match=r"usb/model-w.th is neither a PyTorch nor"):
        take(published(content), folder, cache_dir=cache)
    (folder / "model-w.th").write_bytes(content)
    path = take(published(content), folder, cache_dir=cache)
    assert path.read_bytes() == content
    assert list(cache.iterdir()) == [path]


def test_a_keyboard_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(url: str, headers: Mapping[str, str]) -> Response:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(published(), cache_dir=tmp_path, opener=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_another_hash_is_refused_when_downloaded_and_when_found(
    tmp_path: Path, checkpoint: Path
) -> None:
    file = published(b"the published content")
    with pytest.raises(WeightsError, match="does not begin with the published"):
        fetch(file, cache_dir=tmp_path / "a", opener=serving(checkpoint.read_bytes()))
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "model-w.th").write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"model-w.th has SHA-256 [0-9a-f]{64}, which does not"):
        fetch(file, cache_dir=tmp_path, opener=no_network)


def test_a_web_page_instead_of_weights_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"https://example.org/w.th is a web page"):
        fetch(published(), cache_dir=tmp_path, opener=serving(b"<html>log in</html>"))
    assert list(tmp_path.iterdir()) == []


def test_an_endless_download_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdbench.weights.published.MAX_BYTES", 1000)
    with pytest.raises(WeightsError, match="larger than 1000 bytes"):
        fetch(published(), cache_dir=tmp_path, opener=serving(b"PK" * 1000, length=0))
    assert list(tmp_path.iterdir()) == []


def test_only_https_is_fetched_also_after_a_redirect(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not an https address"):
        fetch(published(url="http://example.org/w.th"), cache_dir=tmp_path, opener=serving(b"PK"))
    handler, request = download._HttpsOnly(), download.urllib.request.Request("https://a.org/w")
    with pytest.raises(OSError, match="not https"):
        handler.redirect_request(request, None, 302, "Found", {}, "http://b.org/w")
    assert handler.redirect_request(request, None, 302, "Found", {}, "https://b.org/w") is not None


def test_an_unwritable_cache_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="set RDBENCH_CACHE"):
        fetch(published(), cache_dir=tmp_path / "file" / "cache", opener=no_network)


def test_a_cache_that_cannot_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    with pytest.raises(WeightsError, match=r"model-w.th cannot be read \(Permission denied\)"):
        fetch(published(), cache_dir=tmp_path, opener=no_network)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("HOME", "XDG_CACHE_HOME", "RDBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(WeightsError, match=r"there is no home folder .* set RDBENCH_CACHE"):
        cache_folder()


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "weights"
    monkeypatch.delenv("RDBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "rdbench" / "weights"


def test_a_path_may_be_a_file_or_a_folder_and_must_exist(tmp_path: Path, checkpoint: Path) -> None:
    file = published()
    assert locate(checkpoint, file, "codec") == checkpoint
    with pytest.raises(WeightsError, match=r"model-w.th does not exist; give the path"):
        locate(tmp_path, file, "codec")
    (tmp_path / "model-w.th").write_bytes(b"PK")
    assert locate(str(tmp_path), file, "codec") == tmp_path / "model-w.th"
