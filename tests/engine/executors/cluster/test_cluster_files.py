"""Files by content: where a worker finds them, and what it refuses to keep."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_scheduler import Worker

from rdbench.engine.executors.cluster import worker as there
from rdbench.engine.executors.cluster.files import CHUNK_BYTES, FileCache, NamedFile, pieces_of
from rdbench.engine.executors.cluster.parcels import Roots

CONTENT = b"samples" * 100


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache")


def named(path: Path, content: bytes = CONTENT) -> NamedFile:
    return NamedFile(str(path), hashlib.sha256(content).hexdigest(), len(content))


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keep(cache: FileCache, file: NamedFile, content: bytes) -> bool:
    with cache.begin(file) as incoming:
        for piece in pieces_of(content):
            incoming.write(piece)
        return incoming.finish()


def test_a_file_is_found_under_its_own_path_and_below_the_workers_root(
    tmp_path: Path, cache: FileCache
) -> None:
    file = named(tmp_path / "there" / "speech" / "a.wav")
    roots = Roots(str(tmp_path / "there"), str(tmp_path / "here"))
    assert cache.find(file, roots) is None
    below = write(tmp_path / "here" / "speech" / "a.wav")
    assert cache.find(file, roots) == str(below)
    own = write(Path(file.path))
    assert FileCache(tmp_path / "cache").find(file, roots) == str(own)


def test_a_file_of_another_content_is_not_taken_for_it(tmp_path: Path, cache: FileCache) -> None:
    file = named(write(tmp_path / "a.wav", CONTENT[::-1]))
    assert cache.find(file, Roots()) is None
    assert not keep(cache, file, CONTENT[::-1])
    assert cache.find(file, Roots()) is None
    assert keep(cache, file, CONTENT)
    found = cache.find(file, Roots())
    assert found is not None
    assert Path(found).read_bytes() == CONTENT
    Path(found).write_bytes(CONTENT[::-1])
    assert cache.find(file, Roots()) is None


def test_what_was_not_finished_leaves_nothing(tmp_path: Path, cache: FileCache) -> None:
    with cache.begin(named(tmp_path / "a.wav")) as incoming:
        incoming.write(CONTENT)
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["name"]


def test_what_a_killed_process_was_sent_is_given_up_after_a_time(
    tmp_path: Path, cache: FileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, young = (write(tmp_path / "cache" / "00" / name) for name in (".1.part", ".2.part"))
    os.utime(old, (0, 0))
    worker = Worker(tmp_path / "cache")
    left = tmp_path / "cache"
    assert list(left.rglob(".*.part")) == [young]
    young.unlink()
    assert (
        worker.receive("of a client that is killed", named(tmp_path / "a"), b"x", last=False) == ""
    )
    assert worker.receive("of another", named(tmp_path / "b"), b"x", last=False) == ""
    assert len(list(left.rglob(".*.part"))) == 2
    monkeypatch.setattr(there, "ABANDONED_SECONDS", 0.0)
    assert worker.receive("of the next", named(tmp_path / "c"), CONTENT, last=True) == ""
    assert list(left.rglob(".*.part")) == []


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.flac", ".flac"), ("a", ""), ("..", ""), ("a.b/../c", ""), ("a." + 40 * "x", "")],
)
def test_no_name_of_somebody_elses_becomes_part_of_a_path(name: str, ending: str) -> None:
    file = NamedFile(f"/clips/{name}", 64 * "0", 1)
    assert file.cached_name == 64 * "0" + ending


def test_caches_are_told_apart_and_workers_share_one(tmp_path: Path) -> None:
    first, same, other = (FileCache(tmp_path / name) for name in ("a", "a", "b"))
    assert first.name == same.name != other.name


def test_large_files_come_in_pieces(tmp_path: Path) -> None:
    path = write(tmp_path / "large", bytes(CHUNK_BYTES + 1))
    assert [len(piece) for piece in pieces_of(path)] == [CHUNK_BYTES, 1]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_root_may_be_an_address(tmp_path: Path, cache: FileCache, address: str) -> None:
    pytest.importorskip("aiohttp")
    write(tmp_path / "served" / "speech" / "a.wav")
    write(tmp_path / "served" / "b.wav", b"another")
    roots = Roots("/data", address)
    found = cache.find(named(Path("/data/speech/a.wav")), roots)
    assert found is not None
    assert Path(found).read_bytes() == CONTENT
    assert Path(found).is_relative_to(tmp_path / "cache")
    assert cache.find(named(Path("/data/b.wav"), b"changed"), roots) is None
    assert cache.find(named(Path("/data/absent.wav"), b"absent"), roots) is None
