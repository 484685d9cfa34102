"""What is written is read back, whole and once; what cannot be read or written is a sentence."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_rows import failed, row, rows_table

import rdbench.store.atomic
import rdbench.store.parts
import rdbench.store.writer
from rdbench.metrics.base import Direction
from rdbench.rate.trace import Trace
from rdbench.store.attachments import lost_keys
from rdbench.store.audio import kept_files, open_audio, write_audio
from rdbench.store.features import read_features
from rdbench.store.manifest import read_manifest, write_manifest
from rdbench.store.parts import list_parts, with_version, write_part
from rdbench.store.reader import count_failed, done_keys, index, read_notes, read_rows
from rdbench.store.schema import BESIDE, COLUMNS, LABELS, SCHEMA_VERSION, Kind, Labels, Quantity
from rdbench.store.writer import RunWriter
from rdbench.types import RateKind, Status, StoreError

ROW_BYTES = rows_table([row(0)]).nbytes


def parts(folder: Path) -> list[Path]:
    return [part.path for part in list_parts(folder / "measurements")]


def keys(folder: Path) -> set[str]:
    return set(read_rows(folder)["unit_key"])


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [
        row(1, 2.5),
        row(2, math.nan, status=Status.UNDEFINED, reason="too short"),
        failed(3, "café: \udcff is no UTF-8"),
        row(4, -7.25, point="6", clip="", seconds=0.0),
    ]
    with RunWriter(tmp_path) as writer:
        writer.append(rows)
    frame = read_rows(tmp_path)
    assert tuple(frame.columns) == COLUMNS
    by_key = frame.set_index("unit_key")
    assert by_key.loc["unit-1", "value"] == 2.5
    assert by_key.loc["unit-4", "value"] == -7.25
    assert by_key.loc["unit-4", "clip"] == ""
    assert by_key["value"].isna().sum() == 2
    assert by_key.loc["unit-2", "status"] == "undefined"
    assert by_key.loc["unit-3", "reason"] == r"café: \udcff is no UTF-8"
    assert done_keys(tmp_path) == {"unit-1", "unit-2", "unit-4"}
    assert count_failed(tmp_path) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_ok(tmp_path: Path, value: float) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(1, value), failed(2), row(3, 1.0, status=Status.FAILED, reason="x")])
    frame = read_rows(tmp_path)
    assert set(frame["status"]) == {"failed"}
    assert frame["value"].isna().all()
    assert (frame["reason"] != "").all()


def test_the_last_row_of_a_unit_counts(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([failed(1), row(2)])
        writer.flush()
        assert done_keys(tmp_path) == {"unit-2"}
        writer.append([row(1, 4.0)])
        writer.flush()
        assert len(parts(tmp_path)) == 2
        assert list(read_rows(tmp_path)["value"]) == [4.0, 3.5]
        writer.compact()
        assert len(parts(tmp_path)) == 1
    assert list(read_rows(tmp_path)["value"]) == [4.0, 3.5]


def test_the_order_of_writing_leaves_no_trace(tmp_path: Path) -> None:
    rows = [row(i, float(i), point=str(i % 3), clip=f"c{i % 5}") for i in range(60)]
    with RunWriter(tmp_path / "a") as writer:
        writer.append(rows)
    with RunWriter(tmp_path / "b", flush_rows=7) as writer:
        for one in reversed(rows):
            writer.append([one])
    pd.testing.assert_frame_equal(read_rows(tmp_path / "a"), read_rows(tmp_path / "b"))
    contents = [parts(tmp_path / name)[0].read_bytes() for name in "ab"]
    assert contents[0] == contents[1]


def test_rows_are_written_by_number_and_by_time(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "n", flush_rows=10, flush_seconds=3600) as writer:
        for i in range(25):
            writer.append([row(i)])
        assert (len(keys(tmp_path / "n")), writer.pending) == (20, 5)
    assert len(keys(tmp_path / "n")) == 25
    with RunWriter(tmp_path / "t", flush_rows=10**6, flush_seconds=0.05) as writer:
        writer.append([row(1)])
        assert writer.pending == 1
        time.sleep(0.06)
        writer.flush_if_due()
        assert keys(tmp_path / "t") == {"unit-1"}


def test_rows_are_kept_when_the_run_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunWriter(tmp_path) as writer:  # noqa: PT012
        writer.append([row(1)])
        raise KeyboardInterrupt
    assert keys(tmp_path) == {"unit-1"}
    with RunWriter(tmp_path) as writer:  # The lock was given back.
        writer.append([row(2)])
    assert keys(tmp_path) == {"unit-1", "unit-2"}


def test_many_parts_are_merged_while_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rdbench.store.parts, "MANY_PARTS", 8)
    monkeypatch.setattr(rdbench.store.parts, "LARGE_BYTES", 30 * ROW_BYTES)
    with RunWriter(tmp_path, flush_rows=1) as writer:
        most = 0
        for i in range(100):
            writer.append([row(i % 70, float(i))])
            most = max(most, len(parts(tmp_path)))
    assert 8 < most <= 8 + 2 * 100 // 30 + 1
    frame = read_rows(tmp_path).set_index("unit_key")["value"]
    assert len(frame) == 70
    assert all(frame[f"unit-{i % 70}"] == i for i in range(30, 100))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: b"",
        lambda content: content + b"x",
    ],
    ids=["truncated", "flipped", "empty", "longer"],
)
def test_a_damaged_part_is_named_and_never_skipped(tmp_path: Path, change: Any) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(1)])
        writer.flush()
        writer.append([row(2)])
        writer.close(merge=False)
    victim = parts(tmp_path)[0]
    victim.write_bytes(change(victim.read_bytes()))
    for reader in (read_rows, done_keys, count_failed):
        with pytest.raises(StoreError, match=f"{victim.name} is damaged"):
            reader(tmp_path)
    with RunWriter(tmp_path) as writer:
        with pytest.raises(StoreError, match=victim.name):
            writer.compact()
        writer.append([row(3)])
    assert victim.exists()
    victim.unlink()
    assert keys(tmp_path) == {"unit-2", "unit-3"}


def test_parquet_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(1)])
    stranger = tmp_path / "measurements" / "copy.parquet"
    pq.write_table(pa.table({"a": [1]}), stranger)
    with pytest.raises(StoreError, match=r"copy\.parquet is not a part that rdbench wrote"):
        read_rows(tmp_path)
    stranger.unlink()
    write_part(tmp_path / "measurements", 2, pa.table({"a": [1]}))
    with pytest.raises(StoreError, match=r"part-00000002.*is damaged"):
        read_rows(tmp_path)


def test_a_later_schema_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunWriter(tmp_path) as writer:
        writer.write_manifest({})
        with monkeypatch.context() as later:
            later.setattr("rdbench.store.versions.SCHEMA_VERSION", SCHEMA_VERSION + 1)
            table = with_version(pa.table({"new_column": [1]}))
        write_part(tmp_path / "measurements", 1, table)
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
    for reader in (read_rows, done_keys, read_manifest):
        with pytest.raises(StoreError, match=rf"has schema version {SCHEMA_VERSION + 1}.*update"):
            reader(tmp_path)


def test_a_folder_without_results_is_a_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StoreError, match="there are no measurements in"):
            read_rows(folder)
        with pytest.raises(StoreError, match=r"there is no manifest\.json in"):
            read_manifest(folder)
        assert done_keys(folder) == set()
        assert count_failed(folder) == 0


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(StoreError, match="a file is in its way; choose another folder"):
            RunWriter(folder)


def breaking(monkeypatch: pytest.MonkeyPatch, step: str, number: int) -> None:
    """Makes one step of writing a file fail."""

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    if step == "open":
        real = os.open

        def opened(path: str, flags: int, *more: int, **options: int) -> int:
            if flags & os.O_CREAT:
                fail()
            return real(path, flags, *more, **options)

        monkeypatch.setattr(os, "open", opened)
    else:
        monkeypatch.setattr(rdbench.store.atomic.os, step, fail)


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EIO, "Input/output error"),
        (errno.EROFS, "is not writable"),
        (errno.EACCES, "is not writable"),
    ],
)
def test_rows_wait_for_a_disk_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, sentence: str
) -> None:
    with RunWriter(tmp_path, flush_rows=2) as writer:
        writer.append([row(0)])
        writer.flush()
        with monkeypatch.context() as broken:
            breaking(broken, step, number)
            with pytest.raises(StoreError, match=sentence):
                writer.append([row(1), row(2)])
            with pytest.raises(StoreError, match=sentence):
                writer.append([row(3)])
            with pytest.raises(StoreError, match=sentence):
                writer.write_manifest({"name": "x"})
            assert writer.pending == 3
        assert keys(tmp_path) == {"unit-0"}
        assert not (tmp_path / "manifest.json").exists()
        writer.flush()
        assert writer.pending == 0
        assert keys(tmp_path) == {f"unit-{i}" for i in range(4)}


def test_rows_that_are_never_written_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, "replace", errno.ENOSPC)
    with pytest.raises(StoreError, match=r"disk is full.*\(2 rows are not written\)"):  # noqa: SIM117
        with RunWriter(tmp_path) as writer:
            writer.append([row(1), row(2)])
    monkeypatch.undo()
    RunWriter(tmp_path).close()  # The lock was given back all the same.


@pytest.mark.parametrize("change", ["moved", "replaced", "removed"])
def test_a_folder_that_goes_elsewhere_is_not_begun_anew(tmp_path: Path, change: str) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    writer = RunWriter(folder)
    writer.append([row(1)])
    writer.flush()
    folder.rename(elsewhere)
    if change == "replaced":
        folder.mkdir()
    elif change == "removed":
        shutil.rmtree(elsewhere)
    trace = Trace(RateKind.KL, "channel", (0,), (math.nan,), (4.0,), 5)
    writer.trace(row(2, kind=Kind.TRACE, key="channel", backend=""), trace)
    for write in (writer.flush, lambda: writer.write_manifest({}), lambda: writer.retire({"a"})):
        with pytest.raises(StoreError, match="is not where it was when the run began"):
            write()
    with pytest.raises(StoreError, match=r"run again where it is now.*\(1 rows are not written\)"):
        writer.close()
    assert not folder.exists() or not any(folder.iterdir())
    if change == "moved":
        assert done_keys(elsewhere) == {"unit-1"}


def test_a_closed_writer_leaves_the_folder_alone(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.close()
    with RunWriter(tmp_path) as other:
        writer.close()
        with pytest.raises(ValueError, match="is closed"):
            writer.append([row(1)])
        other.append([row(2)])
    assert keys(tmp_path) == {"unit-2"}


def test_rows_no_longer_asked_for_step_aside_and_come_back(tmp_path: Path) -> None:
    everything = {f"unit-{i}" for i in range(4)}
    with RunWriter(tmp_path) as writer:
        writer.append([row(0), row(1), failed(2), row(3)])
        writer.flush()
        before = parts(tmp_path)
        writer.retire(set())
        writer.retire({"unit-9"})
        assert writer.recall(everything) == 0
        assert parts(tmp_path) == before
        writer.retire({"unit-1", "unit-3", "unit-9"})
        assert keys(tmp_path) == {"unit-0", "unit-2"}
        writer.append([row(2, 4.5)])
    with RunWriter(tmp_path) as writer:
        writer.retire({"unit-0", "unit-2"})
        assert done_keys(tmp_path) == set()
        assert writer.recall({"unit-1", "unit-8"}) == 1
        assert keys(tmp_path) == {"unit-1"}
        assert writer.recall(everything) == 3
        assert writer.recall(everything) == 0
    frame = read_rows(tmp_path).set_index("unit_key")
    assert set(frame.index) == everything
    assert frame.loc["unit-2", "value"] == 4.5
    assert frame.loc["unit-2", "status"] == "ok"
    assert not list((tmp_path / "retired").iterdir())


def test_a_row_measured_again_is_not_replaced_by_the_one_that_stepped_aside(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(0, 1.0), row(1)])
        writer.retire({"unit-0"})
        writer.append([row(0, 2.0)])
        assert writer.recall({"unit-0"}) == 0
        assert read_rows(tmp_path)["value"].tolist() == [2.0, 3.5]
        writer.retire({"unit-0"})
        writer.recall({"unit-0"})
    assert read_rows(tmp_path)["value"].tolist() == [2.0, 3.5]


def test_a_run_whose_rows_all_stepped_aside_has_no_measurements(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(0)])
        writer.retire({"unit-0"})
    with pytest.raises(StoreError, match="there are no measurements"):
        read_rows(tmp_path)


def label(system: str, clip: str = "speech/a.wav") -> Labels:
    return Labels(system, "Opus", "12", "codes", clip, "speech", "b")


def test_rows_get_other_labels_and_keep_all_else(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(0, 1.0), row(1, 2.0)])
        writer.flush()
        writer.append([row(0, 3.0), row(2, group="b", system="libopus")])
        writer.flush()
        wanted = {f"unit-{i}": label("libopus") for i in (0, 2, 9)}
        wanted["unit-1"] = label("opus", clip="caf\udce9.wav")
        assert writer.relabel(wanted) == 3  # with the row that a later one has replaced
        before = parts(tmp_path)
        assert writer.relabel(wanted) == 0
        assert writer.relabel({}) == 0
        assert parts(tmp_path) == before
    frame = read_rows(tmp_path).set_index("unit_key")
    assert frame["value"].to_dict() == {"unit-0": 3.0, "unit-1": 2.0, "unit-2": 3.5}
    assert frame["system"].to_dict() == {"unit-0": "libopus", "unit-1": "opus", "unit-2": "libopus"}
    assert frame.loc["unit-1", "clip"] == r"caf\udce9.wav"
    assert set(frame["group"]) == {"b"}
    assert frame.loc["unit-0", "reason"] == ""


def test_nothing_but_labels_is_read_where_all_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(i) for i in range(5)])
        writer.relabel({f"unit-{i}": label("opus") for i in range(5)})
        read: list[Any] = []
        real = rdbench.store.writer.read_part
        monkeypatch.setattr(
            rdbench.store.writer, "read_part", lambda part, columns=None: (
                read.append(columns), real(part, columns)
            )[1],
        )  # fmt: skip
        writer.relabel({f"unit-{i}": label("opus") for i in range(5)})
    assert read == [("unit_key", *LABELS)]


def test_units_are_filed_under_other_keys_with_all_that_lies_beside_them(tmp_path: Path) -> None:
    keys_of = {f"unit-{i}": f"new-{i}" for i in range(9)}
    array = np.arange(6.0).reshape(2, 3)
    with RunWriter(tmp_path) as writer:
        write_audio(open_audio(tmp_path), "unit-4", np.zeros((1, 10), np.float32), 8000)
        writer.append([row(0), row(1), row(2), row(4, 0.0, kind=Kind.AUDIO, key="flac")])
        writer.feature(row(3, 1.0, kind=Kind.FEATURE, key="distance", backend=""), array)
        writer.append([row(5)])
        writer.retire({"unit-2"})
        assert writer.rekey(keys_of) == 6
        assert writer.rekey(keys_of) == 0
        assert done_keys(tmp_path) == {f"new-{i}" for i in (0, 1, 3, 4, 5)}
        assert writer.recall({"new-2"}) == 1
    (feature,) = read_features(tmp_path, Quantity(Kind.FEATURE, "distance"))
    assert feature.unit_key == "new-3"
    np.testing.assert_array_equal(feature.array, array)
    assert set(kept_files(tmp_path)) == {"new-4"}
    assert lost_keys(tmp_path) == set()


def test_a_key_that_is_old_and_new_is_refused(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer, pytest.raises(ValueError, match="keys that change: b"):
        writer.rekey({"a": "b", "b": "c"})


def test_of_two_rows_that_get_one_key_the_one_that_had_it_counts(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row("z", 1.0), row("a", 2.0)])
        writer.rekey({"unit-z": "unit-a"})
    assert read_rows(tmp_path)["value"].tolist() == [2.0]


def test_readers_of_measurements_do_not_see_what_lies_beside_them(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row(0)])
        for kind in BESIDE:
            writer.append([row(kind, kind=kind, key="x"), replace(failed(f"{kind}!"), kind=kind)])
    assert keys(tmp_path) == {"unit-0"}
    assert count_failed(tmp_path) == 0
    assert len(done_keys(tmp_path)) == 1 + len(BESIDE)
    assert len(index(tmp_path)) == 1 + 2 * len(BESIDE)


def test_notes_are_read_by_clip(tmp_path: Path) -> None:
    note = {"kind": Kind.NOTE, "system": "", "curve": "", "point": "", "variant": ""}
    with RunWriter(tmp_path) as writer:
        assert read_notes(tmp_path).empty
        writer.append([row(0), row(1, 1.0, key="silent", reason="It is silent.", clip="b", **note)])
        writer.append([row(2, 1.0, key="clipped", reason="It is clipped.", clip="a", **note)])
    found = read_notes(tmp_path)
    assert found.to_dict("list") == {
        "clip": ["a", "b"], "domain": ["speech"] * 2, "key": ["clipped", "silent"],
        "reason": ["It is clipped.", "It is silent."],
    }  # fmt: skip


def test_the_index_tells_what_is_done(tmp_path: Path) -> None:
    assert len(index(tmp_path)) == 0
    assert index(tmp_path).places(["a"]).tolist() == [-1]
    with RunWriter(tmp_path) as writer:
        writer.append([row(0), failed(1)])
        writer.flush()
        writer.append([row(2, math.nan, status=Status.UNDEFINED, reason="too short"), row(1, 2.0)])
        writer.append([failed(3, system="other")])
        writer.close(merge=False)
    found = index(tmp_path)
    assert len(found) == 4
    places = found.places(["unit-3", "unit-9", "unit-1"])
    assert (places < 0).tolist() == [False, True, False]
    assert found.done()[places[[0, 2]]].tolist() == [False, True]
    assert found.table["system"].take(pa.array(places[:1])).to_pylist() == ["other"]
    assert set(found.table.column_names) == {
        "unit_key", "status", "kind", "key", "backend", *LABELS
    }  # fmt: skip


def test_the_index_of_a_million_rows_is_flat(tmp_path: Path) -> None:
    """A tenth of them, in a tenth of 150 MB."""
    folder = tmp_path / "measurements"
    folder.mkdir()
    table = rows_table([row(i, clip=f"c{i % 900}") for i in range(5000)])
    for part in range(20):
        names = pa.array([f"{part * 5000 + i:032x}" for i in range(5000)])
        write_part(folder, part + 1, with_version(table.set_column(0, "unit_key", names)))
    found = index(tmp_path)
    assert len(found) == 100_000
    assert found.table.nbytes < 15e6


def test_the_manifest_holds_what_json_cannot_say(tmp_path: Path) -> None:
    written = write_manifest(
        tmp_path,
        {
            "metrics": {
                "snr": {"upper": math.inf, "lower": -math.inf, "direction": Direction.HIGHER}
            },
            "path": PurePosixPath("a/b"),
            "points": (6, 12.5, True, None),
        },
    )
    content = read_manifest(tmp_path)
    assert content == written
    card = content["metrics"]["snr"]
    assert card == {"upper": "inf", "lower": "-inf", "direction": "higher"}
    assert content["path"] == "a/b"
    assert content["points"] == [6, 12.5, True, None]
    assert content["schema_version"] == SCHEMA_VERSION
    assert "NaN" not in (tmp_path / "manifest.json").read_text()


def test_a_resumed_run_began_when_it_first_began(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"started": "2020-01-01T00:00:00+00:00"})
    again = write_manifest(tmp_path, {"started": "2030-01-01T00:00:00+00:00", "name": "n"})
    assert again["started"].startswith("2020")
    assert again["updated"] > "2020-01-01T00:00:00+00:00"
    assert again["name"] == "n"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"schema_version": true}', "[" * 100_000, "\x00\xff",
     '{"schema_version": 3, "a": NaN}', '{"schema_version": 3, "a": [-Infinity]}',
     '{"schema_version": 3, "a": 1e999}', f'{{"schema_version": 3, "a": {"9" * 400}}}'],
)  # fmt: skip
def test_a_damaged_manifest_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        read_manifest(tmp_path)


def test_a_hundred_thousand_units_are_listed_quickly(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        for start in range(0, 100_000, 5000):
            writer.append([row(i, clip=f"c{i % 900}") for i in range(start, start + 5000)])
        begin = time.process_time()
        assert len(done_keys(tmp_path)) == 100_000
        assert time.process_time() - begin < 2.0
