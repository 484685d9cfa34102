"""Files and foreign code are known by their content."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from rdbench.identity import file_sha256, source_of


def test_a_file_is_hashed_and_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        file_sha256(tmp_path / "pipe")


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
