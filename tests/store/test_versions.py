"""Results of every schema version are read; what a step to a new version must bring is checked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from store_rows import row

from rdbench.store import versions
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import list_parts
from rdbench.store.reader import done_keys, read_rows
from rdbench.store.schema import SCHEMA_VERSION
from rdbench.store.writer import RunWriter

STORED = Path(__file__).parent / "stored"
"""One finished run of every version, with the rows that it holds as CSV."""


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_stored_run_of_every_version_is_read(version: int) -> None:
    folder = STORED / f"v{version}"
    text = io.StringIO((folder / "rows.csv").read_text())
    expected = pd.read_csv(text, keep_default_na=False, dtype=str)
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


def test_every_older_version_has_a_step_to_the_next() -> None:
    older = set(range(1, SCHEMA_VERSION))
    assert set(versions.PARTS) == older
    assert set(versions.MANIFESTS) == older


def test_an_older_run_is_brought_up_while_it_is_read_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it will be when version 2 calls a column otherwise and wants a key in the manifest."""

    def part_step(table: pa.Table) -> pa.Table:
        names = ["unit" if name == "old_unit" else name for name in table.column_names]
        return table.rename_columns(names)

    def manifest_step(content: dict[str, Any]) -> dict[str, Any]:
        return content | {"added": content["name"].upper()}

    with monkeypatch.context() as past:
        # A part of version 1 whose column had another name.
        past.setattr("rdbench.store.writer.write_part", _with_old_name)
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
    from rdbench.store.parts import write_part

    names = ["old_unit" if name == "unit" else name for name in table.column_names]
    renamed = table.rename_columns(names).replace_schema_metadata(table.schema.metadata)
    return write_part(folder, sequence, renamed)
