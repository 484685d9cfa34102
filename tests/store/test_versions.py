"""Results of every schema version are read; what a step to a new version must bring is checked."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from store_rows import row

from rdbench.rate.trace import Trace
from rdbench.store import versions
from rdbench.store.features import read_features
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import list_parts, write_part
from rdbench.store.reader import done_keys, read_notes, read_rows
from rdbench.store.schema import SCHEMA_VERSION, Kind, Quantity
from rdbench.store.status import Counts, run_status
from rdbench.store.traces import read_traces
from rdbench.store.validate import validate_run
from rdbench.store.variants import BUILT_IN, variants_of
from rdbench.store.writer import RunWriter
from rdbench.types import RateKind, StoreError

STORED = Path(__file__).parent / "stored"
"""One finished run of every version, with the rows that it holds as CSV."""


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_stored_run_of_every_version_is_read(version: int) -> None:
    folder = STORED / f"v{version}"
    text = io.StringIO((folder / "rows.csv").read_text())
    expected = pd.read_csv(text, keep_default_na=False, dtype=str)
    if version < 3:  # rows did not say with what they were measured
        expected["provenance"] = ""
    found = read_rows(folder)
    assert list(found.columns) == list(expected.columns)
    for column in found.columns:
        values = found[column]
        if column in ("seconds", "value"):
            told = pd.to_numeric(expected[column])
            pd.testing.assert_series_equal(values, told, check_dtype=False)
        else:
            assert values.tolist() == expected[column].tolist()
    assert read_manifest(folder)["name"] == "stored"
    raw = (folder / "manifest.json").read_text()
    assert f'"schema_version": {version}' in raw


def test_a_plan_of_version_1_asks_for_the_same_rows() -> None:
    old = {
        "schema_version": 1,
        "plan": [
            {
                "system": "vae", "point": "6k", "variant": "sample", "domain": "speech",
                "each": ["metric/pesq_wb", "rate/kl", "rate/kl/Gaussian prior, fit 1/2"],
                "whole": ["cost/encode_rtf"],
            },
            "damaged",
        ],
        "systems": {"vae": {"variants": ["sample", "mean", "unheard of"]}, "damaged": 3},
        "metrics": {"pesq_wb": {"name": "PESQ", "scope": "set"}, "stoi": {}, "damaged": 3},
    }  # fmt: skip
    before = json.dumps(old)
    new = versions.upgrade_manifest(old, 1)
    assert json.dumps(old) == before
    assert new["plan"][0]["each"] == [
        ["metric", "pesq_wb", ""], ["rate", "kl", "N(0, I)"],
        ["rate", "kl", "Gaussian prior, fit 1/2"],
    ]  # fmt: skip
    assert new["plan"][0]["whole"] == [["cost", "encode_rtf", ""]]
    assert new["plan"][1:] == ["damaged"]
    assert new["variants"] == {name: BUILT_IN[name].as_dict() for name in ("sample", "mean")}
    assert new["variants"]["sample"] == {
        "source": "sample", "transmitted": True, "rate": "", "digest": ""
    }  # fmt: skip
    added = {"scope": "clip", "options": {}, "model_file": None}
    assert new["metrics"]["pesq_wb"] == added | {
        "name": "PESQ", "scope": "set", "feature": ["pesq_wb", ""]
    }  # fmt: skip
    assert new["metrics"]["stoi"] == added
    assert variants_of(new)["coded"] == BUILT_IN["coded"]


@pytest.mark.parametrize("damaged", [3, "text", [3], [{"variant": []}], {"a": 3}, None])
@pytest.mark.parametrize("name", ["plan", "systems", "metrics"])
def test_what_is_damaged_in_version_1_stays_damaged(name: str, damaged: Any) -> None:
    content = {"schema_version": 1, name: damaged}
    new = versions.upgrade_manifest(content, 1)
    assert new == content | {"variants": {}}


@pytest.mark.parametrize("damaged", [3, [3], {"sample": 3}])
def test_variants_that_are_none_are_a_sentence(damaged: Any) -> None:
    with pytest.raises(StoreError, match=r"variants in manifest\.json are damaged"):
        variants_of({"variants": damaged})


@pytest.mark.parametrize(
    ("name", "counts"),
    [("music_44k", Counts(ok=8326, undefined=69)), ("speech_16k", Counts(ok=84884, undefined=2))],
)
def test_the_published_runs_are_whole_as_they_were(name: str, counts: Counts) -> None:
    folder = Path(__file__).parents[2] / "results" / name
    assert read_manifest(folder)["schema_version"] in range(2, SCHEMA_VERSION + 1)
    found = validate_run(folder)
    assert (found.problems, found.notes) == ((), ())
    assert run_status(folder).counts == counts


def test_what_a_run_of_version_2_was_measured_with_is_what_its_manifest_says(
    tmp_path: Path,
) -> None:
    """Also after other rows came, measured with something else."""
    old = {"schema_version": 2, "versions": {"torch": "2.3.0"}}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    assert read_manifest(tmp_path)["provenance"] == {"": {"versions": {"torch": "2.3.0"}}}
    new = {"versions": {"torch": "2.4.0"}, "provenance": {"a": {"versions": {"torch": "2.4.0"}}}}
    with RunWriter(tmp_path) as writer:
        writer.write_manifest(new)
        writer.write_manifest(new | {"provenance": {"b": {}}})
    found = read_manifest(tmp_path)
    assert found["versions"] == {"torch": "2.4.0"}
    assert found["provenance"] == {
        "": {"versions": {"torch": "2.3.0"}}, "a": {"versions": {"torch": "2.4.0"}}, "b": {}
    }  # fmt: skip


@pytest.mark.parametrize("version", range(2, SCHEMA_VERSION + 1))
def test_the_stored_runs_with_attachments_are_whole(version: int) -> None:
    folder = STORED / f"v{version}"
    found = validate_run(folder)
    assert (found.problems, found.notes, found.rows) == ((), (), 8)
    counts = run_status(folder).counts
    assert counts.done == counts.asked == 6
    assert read_notes(folder)["reason"].tolist() == ["12 samples are clipped."]
    (feature,) = read_features(folder, Quantity(Kind.FEATURE, "frechet_logmel", "bootstrap"))
    assert feature.array.tolist() == [0.5, 0.75, 1.0]
    assert read_traces(folder)["bits"].tolist() == [1000.0, 234.5]


def test_parts_of_traces_with_labels_in_them_are_read_and_their_labels_are_not(
    tmp_path: Path,
) -> None:
    """As version 1 wrote them, without a version of their own."""
    with RunWriter(tmp_path) as writer:
        writer.append([row(0, 3.0, kind=Kind.TRACE, key="channel", system="new", backend="")])
    old = {
        "unit_key": "unit-0", "system": "old", "curve": "old", "point": "12", "variant": "codes",
        "clip": "speech/a.wav", "axis": "channel", "index": 0, "seconds": math.nan, "kind": "kl",
        "bits": 3.0, "frames": 5,
    }  # fmt: skip
    types = [
        pa.int32() if isinstance(value, int) else pa.scalar(value).type for value in old.values()
    ]
    table = pa.Table.from_pylist([old], pa.schema(list(zip(old, types, strict=True))))
    (tmp_path / "traces").mkdir()
    write_part(tmp_path / "traces", 1, table)
    expected = {**old, "system": "new", "curve": "Opus"}
    del expected["unit_key"]
    (found,) = read_traces(tmp_path).to_dict("records")
    assert str(found) == str(expected)
    trace = Trace(RateKind.KL, "channel", (0,), (math.nan,), (4.0,), 5)
    with RunWriter(tmp_path) as writer:  # parts of both versions are merged
        for i in (1, 2):
            new = row(i, 4.0, kind=Kind.TRACE, key="channel", clip=str(i), backend="")
            writer.trace(new, trace)
            writer.flush()
    assert len(list((tmp_path / "traces").iterdir())) == 1
    assert read_traces(tmp_path)["bits"].tolist() == [3.0, 4.0, 4.0]


def test_every_older_version_has_a_step_to_the_next() -> None:
    older = set(range(1, SCHEMA_VERSION))
    assert set(versions.PARTS) == older
    assert set(versions.MANIFESTS) == older


def test_an_older_run_is_brought_up_while_it_is_read_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it will be when the next version renames a column and wants a key in the manifest."""

    def part_step(table: pa.Table) -> pa.Table:
        names = ["unit" if name == "old_unit" else name for name in table.column_names]
        return table.rename_columns(names)

    def manifest_step(content: dict[str, Any]) -> dict[str, Any]:
        return content | {"added": content["name"].upper()}

    with monkeypatch.context() as past:
        # A part whose column had another name.
        past.setattr("rdbench.store.parts.write_part", _with_old_name)
        with RunWriter(tmp_path) as writer:
            writer.write_manifest({"name": "old"})
            writer.append([row(1, 2.5, unit="dB")])
            writer.close(merge=False)
    before = [part.path.read_bytes() for part in list_parts(tmp_path / "measurements")]
    monkeypatch.setattr(versions, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setitem(versions.PARTS, SCHEMA_VERSION, part_step)
    monkeypatch.setitem(versions.MANIFESTS, SCHEMA_VERSION, manifest_step)
    assert read_rows(tmp_path)["unit"].tolist() == ["dB"]
    assert done_keys(tmp_path) == {"unit-1"}
    assert read_manifest(tmp_path)["added"] == "OLD"
    assert [part.path.read_bytes() for part in list_parts(tmp_path / "measurements")] == before
    with RunWriter(tmp_path) as writer:  # rows of both versions in one folder, merged at the end
        writer.append([row(2, 3.5)])
    assert read_rows(tmp_path)["value"].tolist() == [2.5, 3.5]


def _with_old_name(folder: Path, sequence: int, table: pa.Table) -> Any:
    names = ["old_unit" if name == "unit" else name for name in table.column_names]
    renamed = table.rename_columns(names).replace_schema_metadata(table.schema.metadata)
    return write_part(folder, sequence, renamed)
