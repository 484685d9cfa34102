"""Counting streams encodes no clip again, and what goes wrong costs its own rows alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from engine_runs import Listener, everything, fake, make_clips, rows, run

from rdbench.rate.static import StaticTables
from rdbench.rate.tables import Entry, Tables
from rdbench.store.schema import ONE_STREAM
from rdbench.store.writer import RunWriter

ENTROPY = {"entropy": {"enabled": True}}
NAMES = ["a", "b"]
POINTS = 2


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("streams"), NAMES)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fakes mark each clip that they encode (e) and decode (x)."""
    path = tmp_path / "mark"
    monkeypatch.setenv("FAKES_MARK", str(path))
    return path


def taken(mark: Path) -> tuple[int, int]:
    """How many clips were encoded and decoded since this was asked last."""
    text = mark.read_text() if mark.exists() else ""
    mark.unlink(missing_ok=True)
    return text.count("e"), text.count("x")


@pytest.mark.parametrize(
    ("codec", "device"), [("Tallied", "cpu"), ("Tallied", "cpu:0"), ("TalliedInPool", "cpu:0")]
)
def test_a_clip_is_encoded_once_for_scores_and_streams(
    clips: Path, tmp_path: Path, mark: Path, codec: str, device: str
) -> None:
    folder = tmp_path / "run"
    summary = run(clips, folder, fake(codec), spec=ENTROPY, device=device)
    assert taken(mark) == (len(NAMES), len(NAMES) * POINTS)
    assert summary.failed == 0
    assert summary.written == len(everything(folder))
    assert not (folder / "scratch").exists()
    entropy = rows(folder, key="entropy")
    whole = entropy["backend"].str.endswith(ONE_STREAM)
    assert whole.sum() == 2 * POINTS
    assert (entropy[whole]["clip"] == "").all()

    # What is missing of the whole alone is encoded for it, and not decoded.
    streams = set(entropy[whole]["unit_key"])
    with RunWriter(folder) as writer:
        writer.retire(streams)
    shutil.rmtree(folder / "retired")
    again = run(clips, folder, fake(codec), spec=ENTROPY, device=device)
    assert again.written == len(streams)
    assert taken(mark) == (len(NAMES), 0)
    assert not (folder / "scratch").exists()
    after = rows(folder, key="entropy")
    assert after[["unit_key", "value"]].equals(entropy[["unit_key", "value"]])


def test_a_clip_that_is_added_is_decoded_and_the_others_only_encoded(
    clips: Path, tmp_path: Path, mark: Path
) -> None:
    shutil.copytree(clips, tmp_path / "more")
    run(clips, tmp_path / "run", fake("Tallied"), spec=ENTROPY)
    taken(mark)
    make_clips(tmp_path / "more", ["c"])
    run(tmp_path / "more", tmp_path / "run", fake("Tallied"), spec=ENTROPY)
    assert taken(mark) == (len(NAMES) + 1, POINTS)


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        ("RaisesInEncode", "raised RuntimeError while encoding at"),
        ("PacketsForTokens", "names nominal as its headline"),
    ],
)
def test_a_codec_without_tokens_to_count_costs_its_own_rows(
    clips: Path, tmp_path: Path, codec: str, reason: str
) -> None:
    folder = tmp_path / "run"
    run(clips, folder, fake(codec), fake("Quantizer"), spec=ENTROPY)
    failed, good = rows(folder, system=codec), rows(folder, system="Quantizer")
    assert set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains(reason, regex=False).all()
    of_all = failed[failed["clip"] == ""]
    assert set(of_all["kind"]) == {"rate", "usage"}
    assert of_all["reason"].str.contains("a.wav", regex=False).all()
    assert set(good["status"]) == {"ok"}
    assert len(good) == len(failed)
    assert not (folder / "scratch").exists()


def tables(path: Path, codec: str) -> dict[str, object]:
    """The section of a spec with tables of a codebook of eight entries for `codec`."""
    counts = StaticTables(((np.ones(8, np.int64),),))
    entry = Entry(codec, "", "8bit", tokens=counts)
    path.write_bytes(Tables((entry,), ("0" * 64,)).dumps())
    return {"entropy": {"enabled": True, "tables": str(path)}}


def test_tables_that_have_nothing_for_a_codec_are_said(clips: Path, tmp_path: Path) -> None:
    spec, listener = tables(tmp_path / "t.json", "another"), Listener()
    run(clips, tmp_path / "run", fake("Quantizer"), {"codec": "identity"}, spec=spec,
        progress=listener)  # fmt: skip
    (said,) = [one for one in listener.said if "tables" in one]
    assert said.startswith("Quantizer at 2bit, 8bit: the entropy tables have nothing")
    assert not rows(tmp_path / "run", key="entropy")["backend"].str.startswith("static").any()
    listener.said.clear()
    run(clips, tmp_path / "run", fake("Quantizer"), spec=spec, progress=listener)
    assert any("tables" in one for one in listener.said)


def test_tables_of_other_codebooks_fail_what_they_would_count(clips: Path, tmp_path: Path) -> None:
    spec = tables(tmp_path / "t.json", "quantizer")
    run(clips, tmp_path / "run", fake("Quantizer"), spec=spec)
    found = rows(tmp_path / "run")
    static = found["backend"].str.startswith("static")
    assert set(found[static]["status"]) == {"failed"}
    assert static.sum() == (len(NAMES) + 1) * POINTS
    assert set(found[~static]["status"]) == {"ok"}
    assert found[static]["reason"].str.contains("fit them again").all()
