"""Reads a results folder: rows, finished units, the manifest.

A reader needs no lock and sees whole parts only. What cannot be read is an error that names the
file, and never a row less.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.store.manifest import read_manifest
from rdbench.store.parts import MEASUREMENTS, ordered, read_all
from rdbench.store.schema import Kind
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["count_failed", "done_keys", "read_manifest", "read_rows"]


def read_rows(folder: Path) -> pd.DataFrame:
    """Every row of a run: the columns of `Row` in order, the latest row of each unit key.

    The order of the rows depends on what they are alone, not on when they were measured. Rows of
    kept audio and of traces are left to `rdbench.store.audio` and `rdbench.store.traces`.

    Raises:
        StoreError: for a folder without measurements, and for a part that is damaged or of a
            later schema.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_all(Path(folder) / MEASUREMENTS)
    table = table.filter(
        pc.invert(pc.is_in(table["kind"], pa.array([Kind.AUDIO.value, Kind.TRACE.value])))
    )
    if not len(table):
        raise StoreError(
            f"there are no measurements in {folder}; give a folder that `rdbench run` has made"
        )
    frame: pd.DataFrame = ordered(table).to_pandas()
    return frame


def done_keys(folder: Path, *, include_failed: bool = False) -> set[str]:
    """The unit keys that need not be done again; empty for a folder without measurements.

    An undefined value is an answer; a failure is done only with `include_failed`. Raises
    StoreError as `read_rows` does.
    """
    import pyarrow.compute as pc

    table = read_all(Path(folder) / MEASUREMENTS, ("unit_key", "status"))
    if not include_failed:
        table = table.filter(pc.not_equal(table["status"], Status.FAILED.value))
    return set(table["unit_key"].to_pylist())


def count_failed(folder: Path) -> int:
    """How many units of the run have failed; raises StoreError as `read_rows` does."""
    import pyarrow.compute as pc

    table = read_all(Path(folder) / MEASUREMENTS, ("unit_key", "status"))
    return int(pc.sum(pc.equal(table["status"], Status.FAILED.value)).as_py() or 0)
