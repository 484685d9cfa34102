"""Files and foreign code are known by their content."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdbench import identity
from rdbench.identity import CheckedFile, Watch, behind, file_sha256, hash_file, read_hashed


def source_of(module: str, options: object = None) -> tuple[str, ...]:
    return behind(module, options).source


def test_a_file_is_hashed_and_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    os.mkfifo(tmp_path / "pipe")
    for read in (file_sha256, hash_file, lambda path: read_hashed(path, limit=9)):
        with pytest.raises(OSError, match="no regular file"):
            read(tmp_path / "pipe")
    with pytest.raises(OSError, match="more than 9 bytes"):
        read_hashed(path, limit=9)
    assert read_hashed(path, limit=300_000) == (path.read_bytes(), file_sha256(path))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "BLOCK_BYTES", 10)
    monkeypatch.setattr(identity, "_BLOCKS_KEPT", 2)


@pytest.mark.usefixtures("small_blocks")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    content=st.binary(max_size=95),
    places=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 40))),
)
def test_a_checked_file_reads_as_the_file_does(
    tmp_path: Path, content: bytes, places: list[tuple[int, int]]
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    found = hash_file(path)
    assert (found.sha256, found.size) == (hashlib.sha256(content).hexdigest(), len(content))
    with CheckedFile(path, found) as ours, path.open("rb") as theirs:
        assert ours.read() == theirs.read()
        for place, count in places:
            assert ours.seek(place) == theirs.seek(place)
            assert ours.read(count) == theirs.read(count)
            assert ours.seek(-min(place, 3), os.SEEK_CUR) == theirs.seek(
                -min(place, 3), os.SEEK_CUR
            )
        assert ours.seek(0, os.SEEK_END) == len(content)
        assert not ours.changed


@pytest.mark.parametrize("swap", ["other", "longer", "shorter", "gone"])
def test_a_block_that_is_another_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: str
) -> None:
    """What was read before it is what was hashed, and what lies behind it is not read any more."""
    block = 2 * io.DEFAULT_BUFFER_SIZE
    monkeypatch.setattr(identity, "BLOCK_BYTES", block)
    path = tmp_path / "x"
    path.write_bytes(content := os.urandom(3 * block + block // 2))
    planned = hash_file(path)
    with CheckedFile(path, planned) as file:
        assert file.read(block + 1) == content[: block + 1]
        if swap == "gone":  # another file at the path is nothing to an open one
            path.unlink()
            path.write_bytes(bytes(len(content)))
        else:
            other = content[: 3 * block - 1] + b"?!" + content[3 * block + 1 :]
            new = {"other": other, "longer": content + b"!", "shorter": content[:-1]}
            path.write_bytes(new[swap])
        read = file.read()
        if swap in ("gone", "longer"):
            assert (read, file.changed) == (content[block + 1 :], False)
        else:
            assert file.changed
            assert read == content[block + 1 : (2 if swap == "other" else 3) * block]
            assert file.read() == b""
    with CheckedFile(path, planned) as file:
        assert (file.read() == content) is (swap == "longer") is not file.changed


def test_what_was_written_is_noticed_for_good(tmp_path: Path) -> None:
    path, folder = tmp_path / "x", tmp_path / "folder"
    path.write_bytes(b"abc")
    folder.mkdir()
    (folder / "y").write_bytes(b"abc")

    def watch(*paths: Path) -> Watch:
        return Watch({one: identity.content_of(one) for one in paths})

    of_file, of_folder, never_asked = watch(path), watch(folder), watch(path)
    assert of_file.changed() is of_folder.changed() is None
    path.write_bytes(b"abd")  # within the same tick of the clock, of the same size
    (folder / "z").touch()
    assert (of_file.changed(), of_folder.changed()) == (path, folder)
    assert never_asked.changed() == path
    path.write_bytes(b"abc")
    assert of_file.changed() == path  # nobody knows what was read meanwhile
    again = watch(path)
    os.utime(path, ns=(0, 0))
    assert watch(path).changed() is None
    assert again.changed() is None
    os.utime(path, ns=(0, 5))
    assert again.changed() == path
    path.unlink()
    assert watch().changed() is None
    assert Watch({path: "0"}).changed() == path


def test_what_nobody_wrote_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    os.utime(path, ns=(0, 0))
    watch = Watch({path: file_sha256(path)})
    assert watch.changed() is None
    monkeypatch.setattr(identity, "content_of", lambda _: pytest.fail("it was hashed again"))
    assert watch.changed() is None


def test_code_beside_a_module_and_files_of_options_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign_thing.py").write_text("import foreign_helper\n")
    (tmp_path / "foreign_helper.py").write_text("VALUE = 1\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "net.pt").write_text("weights")
    monkeypatch.syspath_prepend(tmp_path)
    import foreign_thing  # noqa: F401

    options = {"weights": str(tmp_path / "net.pt"), "more": [str(tmp_path / "folder"), 3, "x"]}
    try:
        seen = {source_of("foreign_thing", options)}
        for name in ("foreign_thing.py", "foreign_helper.py", "net.pt", "folder/new"):
            path = tmp_path / name
            path.write_text((path.read_text() if path.exists() else "") + "\n")
            assert source_of("foreign_thing", options) not in seen
            seen.add(source_of("foreign_thing", options))
        assert source_of("foreign_thing", options) in seen
    finally:
        for module in ("foreign_thing", "foreign_helper"):
            sys.modules.pop(module)


def test_modules_of_rdbench_have_versions_and_one_without_a_file_is_named() -> None:
    assert source_of("rdbench.codecs.anchors", {}) == ()
    assert source_of("typed_in") == ("typed_in",)
