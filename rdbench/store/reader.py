"""Reads a results folder: rows, finished units, notes, the manifest.

A reader needs no lock and sees whole parts only. What cannot be read is an error that names the
file, and never a row less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.store.manifest import read_manifest
from rdbench.store.parts import MEASUREMENTS, bounded, latest, ordered, read_all, read_part, settled
from rdbench.store.schema import BESIDE, LABELS, Kind
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "Index",
    "count_failed",
    "done_keys",
    "index",
    "read_manifest",
    "read_notes",
    "read_rows",
]


def read_rows(folder: Path) -> pd.DataFrame:
    """Every row of a run: the columns of `Row` in order, the latest row of each unit key.

    The order of the rows depends on what they are alone, not on when they were measured. Rows of
    what lies beside the measurements (`rdbench.store.schema.BESIDE`) are left to its own readers.

    Raises:
        StoreError: for a folder without measurements, and for a part that is damaged or of a
            later schema.
    """
    table = _measured(read_all(Path(folder) / MEASUREMENTS))
    if not len(table):
        raise StoreError(
            f"there are no measurements in {folder}; give a folder that `rdbench run` has made"
        )
    frame: pd.DataFrame = ordered(table).to_pandas()
    return frame


def read_notes(folder: Path) -> pd.DataFrame:
    """What is worth knowing of clips: clip, domain, key (for example "clipped"), and the sentence.

    Columns: clip, domain, key, reason; ordered as rows are, empty where there is nothing to say.
    Raises StoreError as `read_rows` does, but for a folder without measurements.
    """
    table = ordered(read_all(Path(folder) / MEASUREMENTS, kind=Kind.NOTE))
    frame: pd.DataFrame = table.select(["clip", "domain", "key", "reason"]).to_pandas()
    return frame


def done_keys(folder: Path) -> set[str]:
    """The unit keys that need not be done again; empty for a folder without measurements.

    An undefined value is an answer, a failure is not. Raises StoreError as `read_rows` does.
    """
    import pyarrow.compute as pc

    table = read_all(Path(folder) / MEASUREMENTS, ("unit_key", "status"))
    table = table.filter(pc.not_equal(table["status"], Status.FAILED.value))
    return set(table["unit_key"].to_pylist())


def count_failed(folder: Path) -> int:
    """How many measurements of the run have failed; raises StoreError as `read_rows` does."""
    import pyarrow.compute as pc

    table = _measured(read_all(Path(folder) / MEASUREMENTS, ("unit_key", "kind", "status")))
    return int(pc.sum(pc.equal(table["status"], Status.FAILED.value)).as_py() or 0)


@dataclass(frozen=True)
class Index:
    """Which units a folder has, for whoever plans what to measure.

    table: the latest row of each unit key; columns unit_key, status, kind, key, backend and those
    of `Labels`, all but the first as dictionaries of their distinct values, so that a million rows
    take about 100 MB.
    """

    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def places(self, keys: Iterable[str]) -> npt.NDArray[np.int64]:
        """The row of each of these units in the table, int64; −1 where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(pa.array(keys, pa.string()), value_set=self.table["unit_key"])
        places: npt.NDArray[np.int64] = pc.fill_null(found, -1).to_numpy().astype("int64")
        return places

    def done(self) -> npt.NDArray[np.bool_]:
        """Whether each row of the table need not be measured again: it has not failed."""
        import pyarrow.compute as pc

        done: npt.NDArray[np.bool_]
        done = pc.not_equal(self.table["status"].cast("string"), Status.FAILED.value).to_numpy()
        return done

    def of_kind(self, kind: Kind) -> set[str]:
        """The units of one kind."""
        import pyarrow.compute as pc

        held = pc.equal(self.table["kind"].cast("string"), kind.value)
        return set(self.table["unit_key"].filter(held).to_pylist())


def index(folder: Path) -> Index:
    """The index of a run, empty for a folder without measurements; raises StoreError."""
    import pyarrow as pa

    columns = ("unit_key", "status", "kind", "key", "backend", *LABELS)

    def read(parts: list[Any]) -> list[pa.Table]:
        tables = (_distinct(read_part(part, columns)) for part in parts)
        return list(bounded(tables, Path(folder) / MEASUREMENTS))

    tables = settled(Path(folder) / MEASUREMENTS, read)
    if not tables:
        return Index(pa.table({name: pa.array([], pa.string()) for name in columns}))
    return Index(latest(pa.concat_tables(tables).unify_dictionaries()))


def _distinct(table: pa.Table) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if name != "unit_key":
            table = table.set_column(place, name, table[name].dictionary_encode())
    return table


def _measured(table: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    beside = pc.is_in(table["kind"], pa.array([kind.value for kind in BESIDE]))
    return table.filter(pc.invert(beside))
