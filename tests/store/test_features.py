"""Arrays beside the measurements: what comes back, what is made again, and what is not let in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from injection import Injector, injected
from store_rows import failed, row

import rdbench.store.parts
from rdbench.store.attachments import lost_keys
from rdbench.store.features import (
    MAX_ARRAY_BYTES,
    TYPES,
    feature_columns,
    feature_content,
    read_features,
)
from rdbench.store.parts import list_parts, with_version, write_part
from rdbench.store.schema import Kind, Labels, Quantity, Row
from rdbench.store.validate import validate_run
from rdbench.store.writer import RunWriter
from rdbench.types import StoreError

DISTANCE = Quantity(Kind.FEATURE, "distance")
BOOTSTRAP = Quantity(Kind.FEATURE, "distance", "bootstrap")


def feature(number: int | str, **changes: Any) -> Row:
    changes = {"kind": Kind.FEATURE, "key": "distance", "backend": "", "unit": ""} | changes
    return row(number, 1.0, **changes)


def problems(folder: Path) -> list[str]:
    return [one for one in validate_run(folder).problems if "manifest.json" not in one]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4), (2, 0, 3), (2, 3, 4)])
def test_an_array_comes_back_bit_for_bit(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal(shape) * 100
    array = np.asarray(values).astype(kind)
    with RunWriter(tmp_path) as writer:
        writer.feature(feature(0), array)
        writer.feature(feature(1, clip="z"), np.asarray(array, order="F").T)
    first, second = read_features(tmp_path, DISTANCE)
    assert first.array.dtype == kind
    np.testing.assert_array_equal(first.array, array, strict=True)
    np.testing.assert_array_equal(second.array, array.T, strict=True)
    first.array[...] = 0  # It is the caller's own.


def test_arrays_are_told_apart_by_model_and_ordered_by_labels(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        for i, clip in enumerate("cab"):
            writer.feature(feature(i, clip=clip), np.full(2, i, np.float32))
        writer.feature(feature("whole", clip="", backend="bootstrap"), np.zeros(5))
        writer.feature(feature("other", key="other"), np.zeros(1))
    assert [(one.clip, one.array[0]) for one in read_features(tmp_path, DISTANCE)] == [
        ("a", 1), ("b", 2), ("c", 0),
    ]  # fmt: skip
    (bootstrap,) = read_features(tmp_path, BOOTSTRAP)
    assert (bootstrap.unit_key, bootstrap.clip, bootstrap.domain) == ("unit-whole", "", "speech")
    assert bootstrap.array.shape == (5,)
    assert read_features(tmp_path, Quantity(Kind.FEATURE, "distance", "jackknife")) == []
    assert not problems(tmp_path)


def test_the_latest_array_of_a_unit_counts(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        for value in range(4):  # twice in one part, and in parts that are merged at the end
            writer.feature(feature(0), np.full(1, value, np.int64))
            writer.feature(feature(0), np.full(1, 10 * value, np.int64))
            writer.flush()
            (found,) = read_features(tmp_path, DISTANCE)
            assert found.array.tolist() == [10 * value]
    assert len(list((tmp_path / "features").iterdir())) == 1
    (found,) = read_features(tmp_path, DISTANCE)
    assert found.array.tolist() == [30]


def test_labels_come_from_the_rows(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.feature(feature(0), np.zeros(1))
        writer.flush()
        before = [path.name for path in (tmp_path / "features").iterdir()]
        writer.relabel({"unit-0": Labels("new", "curve", "p", "v", "clip", "music", "g")})
        assert [path.name for path in (tmp_path / "features").iterdir()] == before
    (found,) = read_features(tmp_path, DISTANCE)
    assert (found.system, found.curve, found.domain) == ("new", "curve", "music")


def test_arrays_of_retired_and_failed_rows_are_not_read_and_those_that_come_back_are(
    tmp_path: Path,
) -> None:
    with RunWriter(tmp_path) as writer:
        writer.feature(feature(0), np.zeros(1))
        writer.append([failed(1, "no samples", kind=Kind.FEATURE, key="distance", backend="")])
        writer.retire({"unit-0"})
        assert read_features(tmp_path, DISTANCE) == []
        assert not lost_keys(tmp_path)
        writer.recall({"unit-0"})
    assert len(read_features(tmp_path, DISTANCE)) == 1
    assert not problems(tmp_path)


def test_lost_and_damaged_arrays_are_told_and_made_again(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.feature(feature(0), np.zeros(1))
    (path,) = (tmp_path / "features").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert lost_keys(tmp_path) == lost_keys(tmp_path, Kind.FEATURE) == {"unit-0"}
    assert not lost_keys(tmp_path, Kind.TRACE)
    with pytest.raises(StoreError, match="is damaged"):
        read_features(tmp_path, DISTANCE)
    assert [path.name in one for one in problems(tmp_path)] == [True]
    path.unlink()
    assert lost_keys(tmp_path) == {"unit-0"}
    assert "1 features are missing" in problems(tmp_path)[0]
    with RunWriter(tmp_path) as writer:
        writer.feature(feature(0), np.ones(1))
    assert len(read_features(tmp_path, DISTANCE)) == 1
    assert not problems(tmp_path)


def test_much_that_waits_is_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rdbench.store.parts, "LARGE_BYTES", 20_000)
    with RunWriter(tmp_path, flush_rows=10**6, flush_seconds=1e6) as writer:
        for i in range(25):
            writer.feature(feature(i, clip=str(i)), np.zeros(1000))
        assert len(list_parts(tmp_path / "features")) == 8
        assert writer.pending == 1
    assert len(read_features(tmp_path, DISTANCE)) == 25


def test_an_array_waits_with_its_row_for_a_disk_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rdbench.store.parts, "LARGE_BYTES", 100)
    with RunWriter(tmp_path) as writer:
        with injected(Injector(tmp_path, at=1, action="refuse")):
            for i in range(2):
                with pytest.raises(StoreError, match="the disk is full"):
                    writer.feature(feature(i, clip=str(i)), np.zeros(100))
        assert writer.pending == 2
    assert len(read_features(tmp_path, DISTANCE)) == 2


@pytest.mark.parametrize(
    "array",
    [np.zeros(1, object), np.zeros(1, complex), np.array(["a"]), np.zeros(1, np.float16),
     np.broadcast_to(np.zeros(1), (MAX_ARRAY_BYTES // 8 + 1,))],
    ids=["object", "complex", "text", "half", "large"],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_when_it_is_given(tmp_path: Path, array: Any) -> None:
    with RunWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match="is no feature"):
            writer.feature(feature(0), array)
        assert writer.pending == 0


@pytest.mark.parametrize(
    "change",
    [
        {"type": "object"}, {"type": "float16"}, {"type": "float64, int32"}, {"type": None},
        {"shape": "3"}, {"shape": "2x3"}, {"shape": "-4"}, {"shape": "-2x-2"}, {"shape": "4x"},
        {"shape": "a"}, {"shape": "9" * 5000}, {"shape": "x".join(["1"] * 90) + "x4"},
        {"shape": f"{2**62}x{2**62}"}, {"shape": "0x" + "9" * 60}, {"shape": None},
        {"values": b""}, {"values": b"x" * 33}, {"values": None},
        {"values": bytes(MAX_ARRAY_BYTES + 8), "shape": str(MAX_ARRAY_BYTES // 8 + 1)},
    ],
)  # fmt: skip
def test_what_is_no_array_is_a_sentence(tmp_path: Path, change: dict[str, Any]) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([feature(0)])
    (tmp_path / "features").mkdir(exist_ok=True)
    content = {"unit_key": ["unit-0"], **feature_content(np.zeros(4))}
    content |= {name: [value] for name, value in change.items()}
    table = pa.table(content, schema=feature_columns())
    write_part(tmp_path / "features", 1, with_version(table))
    with pytest.raises(StoreError, match="delete") as caught:
        read_features(tmp_path, DISTANCE)
    assert "\n" not in str(caught.value)
    assert str(caught.value) in problems(tmp_path)


def bomb(folder: Path, rows: int, size: int) -> Path:
    """A part that repeats one long value, or a short one very often."""
    places = pa.array(np.zeros(rows, np.int32))
    columns = {
        "unit_key": pa.DictionaryArray.from_arrays(places, ["unit-0"]),
        "type": pa.DictionaryArray.from_arrays(places, ["float64"]),
        "shape": pa.DictionaryArray.from_arrays(places, [str(size // 8)]),
        "values": pa.DictionaryArray.from_arrays(places, pa.array([bytes(size)], pa.binary())),
    }
    return write(folder, with_version(pa.table(columns)))


def write(folder: Path, table: pa.Table) -> Path:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    folder.mkdir(exist_ok=True)
    path = folder / f"part-00000001-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("rows", "size"), [(100_000, 80_000), (12_000_000, 8)])
def test_a_part_of_features_that_would_unpack_to_gigabytes_is_refused(
    tmp_path: Path, rows: int, size: int
) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([feature(0)])
    assert bomb(tmp_path / "features", rows, size).stat().st_size < 1e6
    allocated = pa.total_allocated_bytes()
    with pytest.raises(StoreError, match="would unpack to"):
        read_features(tmp_path, DISTANCE)
    assert pa.total_allocated_bytes() - allocated < 1e8
    assert "would unpack to" in problems(tmp_path)[0]


@pytest.mark.parametrize("rows", [400_000, 30_000_000])
def test_a_part_of_traces_that_would_unpack_to_gigabytes_is_refused(
    tmp_path: Path, rows: int
) -> None:
    from rdbench.store.traces import read_traces

    with RunWriter(tmp_path) as writer:
        writer.append([row(0, 1.0, kind=Kind.TRACE, key="frame", backend="")])
    places = pa.array(np.zeros(rows, np.int32))
    text = "x" * (10_000 if rows < 10**6 else 1)
    columns: dict[str, Any] = {
        name: pa.DictionaryArray.from_arrays(places, [text]) for name in ("axis", "kind")
    }
    columns["unit_key"] = pa.DictionaryArray.from_arrays(places, ["unit-0"])
    columns |= {name: pa.array(np.zeros(rows)) for name in ("seconds", "bits")}
    columns |= dict.fromkeys(("index", "frames"), places)
    path = write(tmp_path / "traces", pa.table(columns))
    assert path.stat().st_size < 1e6
    with pytest.raises(StoreError, match="would unpack to"):
        read_traces(tmp_path)
    assert "would unpack to" in problems(tmp_path)[0]
