"""Clips whose names are no text: failed clips with readable names, and the checks agree."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from engine_runs import fake, make_clips, rows, run

from rdbench.audio.clip import readable
from rdbench.audio.load import read
from rdbench.store.manifest import read_manifest
from rdbench.store.validate import validate_run
from rdbench.types import AudioError

LATIN, BROKEN, FOLDER = (
    os.fsdecode(name) for name in (b"caf\xe9.wav", b"\xff\xc0\x80.wav", b"\xe9t\xe9/a.wav")
)
HALF = "\ud800"
"""Half a surrogate pair, which JSON can hold and no file name."""


def checked(folder: Path, *, failed: set[str]) -> None:
    """The run has rows of every clip under names that are text, and is whole."""
    found = rows(folder)
    assert set(found.loc[found["status"] == "failed", "clip"]) == failed
    good = found[~found["clip"].isin(failed)]
    assert len(good)
    assert set(good["status"]) == {"ok"}
    reasons = set(found.loc[found["clip"].isin(failed), "reason"])
    assert all("is not UTF-8; rename it" in reason for reason in reasons)
    names = {clip["name"] for clip in read_manifest(folder)["corpus"]["clips"]}
    assert names == set(found["clip"])
    assert validate_run(folder).problems == ()


def test_files_of_a_folder_whose_names_are_no_text_fail_alone(tmp_path: Path) -> None:
    clips = make_clips(tmp_path / "clips", ["good", "gütig"])
    (clips / FOLDER).parent.mkdir()
    for name in (LATIN, BROKEN, FOLDER):
        shutil.copy(clips / "good.wav", clips / name)
    folder = tmp_path / "run"
    for group_by in ("file", "folder"):
        spec = {"corpus": {"kind": "folder", "path": str(clips), "group_by": group_by}}
        done = run(clips, folder, fake("Quantizer"), spec=spec)
        assert done.failed > 0
        checked(folder, failed={readable(name) for name in (LATIN, BROKEN, FOLDER)})
    assert r"caf\udce9.wav" in set(rows(folder)["clip"])
    assert "\\udce9t\\udce9" in set(rows(folder)["group"])


@pytest.mark.parametrize(
    ("row", "failed"),
    [
        ({"file": LATIN}, r"caf\udce9.wav"),
        ({"file": LATIN, "start": 0.1, "group": HALF}, r"caf\udce9.wav#0.1+end"),
        ({"file": "good.wav", "start": 0.5, "group": f"speaker {HALF}"}, None),
        ({"file": "good.wav", "start": 0.5, "domain": f"speech {HALF}"}, None),
    ],
)
def test_a_manifest_may_hold_what_is_no_text(
    tmp_path: Path, row: dict[str, object], failed: str | None
) -> None:
    clips = make_clips(tmp_path / "clips", ["good"])
    shutil.copy(clips / "good.wav", clips / LATIN)
    lines = [json.dumps(one) for one in ({"file": "good.wav"}, row)]
    (clips / "clips.jsonl").write_text("\n".join(lines) + "\n")
    folder = tmp_path / "run"
    run(clips / "clips.jsonl", folder, {"codec": "identity"})
    checked(folder, failed={failed} if failed else set())
    if not failed:
        (column,) = row.keys() & {"group", "domain"}
        assert rows(folder)[column].str.endswith(r"\ud800").any()


def test_a_file_below_such_a_folder_is_a_sentence(tmp_path: Path) -> None:
    made = make_clips(tmp_path / "clips", ["good"])
    clips = made.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(AudioError, match=r"caf\\udce9/good.wav cannot be read.*not UTF-8"):
        read(clips / "good.wav")
