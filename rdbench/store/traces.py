"""Traces beside the measurements: bits per channel of a posterior, and per frame on request.

`traces/` holds Parquet parts with one row per entry of a trace. As with kept audio, a row of the
kind `trace` among the measurements, whose key is the axis, says that a unit has one and what it
sums to; it is written after the part that holds the trace, and comes and goes with the spec. What
was cut off in between, and traces of other inputs, are never read; a trace whose part is gone is
made again by the next run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rdbench.store.atomic import make_folder, remove_leftovers
from rdbench.store.parts import (
    MEASUREMENTS,
    Part,
    list_parts,
    read_all,
    read_content,
    settled,
    write_part,
)
from rdbench.store.schema import Kind, Row
from rdbench.types import StoreError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FOLDER = "traces"
AXES = ("frame", "channel")
"""What rows of traces have in their column `key`."""
COLUMNS = (
    "system", "curve", "point", "variant", "clip", "axis", "index", "seconds", "kind", "bits",
    "frames",
)  # fmt: skip
LARGE_PART = 500_000
"""Entries from which a part is no longer merged with others, which bounds the memory of merging."""
MANY_PARTS = 64
"""Small parts from which they are merged."""


class Trace(Protocol):
    """What is written; `rdbench.rate.trace.Trace` is one."""

    @property
    def kind(self) -> str: ...
    @property
    def axis(self) -> str: ...
    @property
    def index(self) -> Sequence[int]: ...
    @property
    def seconds(self) -> Sequence[float]: ...
    @property
    def bits(self) -> Sequence[float]: ...
    @property
    def frames(self) -> int: ...


class TraceParts:
    """The traces of a folder under its writer, which has the lock (`rdbench.store.writer`)."""

    def __init__(self, run: Path) -> None:
        self._folder = Path(run) / FOLDER
        if self._folder.exists():
            remove_leftovers(self._folder)
        parts = list_parts(self._folder, strict=False)
        self._next = parts[-1].sequence + 1 if parts else 1
        self._small: list[tuple[Part, int]] = []  # with their entries; of this writer alone
        self._waiting: list[tuple[Row, Trace]] = []

    def add(self, row: Row, trace: Trace) -> None:
        """Takes a trace and the row that will stand for it."""
        self._waiting.append((row, trace))

    def flush(self) -> None:
        """Writes what waits; raises StoreError, and keeps it then."""
        if self._waiting:
            self._write(_table(self._waiting))
            self._waiting = []
        entries = sum(count for _, count in self._small)
        if len(self._small) >= MANY_PARTS or entries >= LARGE_PART:
            self.merge_quietly()

    def merge_quietly(self) -> None:
        """Makes one part of the small ones where it can: traces are safe without.

        Harmless when cut off at any moment.
        """
        import pyarrow as pa

        merged = [part for part, _ in self._small]
        self._small = []
        if len(merged) > 1:
            with contextlib.suppress(StoreError, OSError):
                self._write(pa.concat_tables([_read(part) for part in merged]))
                for part in merged:
                    part.path.unlink(missing_ok=True)

    def _write(self, table: pa.Table) -> None:
        make_folder(self._folder)
        part = write_part(self._folder, self._next, table)
        self._next += 1
        if len(table) < LARGE_PART:
            self._small.append((part, len(table)))


def read_traces(run: Path) -> pd.DataFrame:
    """Every trace of a run, one row per entry; empty where there is none.

    Columns: system, curve, point, variant, clip; axis ("frame" or "channel"); index along it, −1
    for side information, which belongs to none; seconds (where a frame begins; NaN where unknown,
    and for channels); kind (of rate); bits; frames (over how many an entry sums). The bits of a
    unit along an axis sum to its rate of that kind. Ordered by the first five columns, axis and
    index. Raises StoreError for a damaged part or table of measurements.
    """
    import pandas as pd

    frames = settled(Path(run) / FOLDER, partial(_current, run))
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    whole = pd.concat(frames, ignore_index=True)[list(COLUMNS)]
    ordered: pd.DataFrame = whole.sort_values(
        [*COLUMNS[:5], "axis", "index"], kind="stable", ignore_index=True
    )
    return ordered


def _current(run: Path, parts: Sequence[Part]) -> list[pd.DataFrame]:
    """The traces that the measurements tell of, a table for each part that has some."""
    current = _traced(run)
    frames = []
    for part in reversed(parts):  # of a unit, the latest part's
        frame = _read(part).to_pandas()
        frame = frame[frame["unit_key"].isin(current)]
        current -= set(frame["unit_key"].unique())
        if len(frame):  # parts of an older rdbench have fewer columns, and no unit of today's
            frames.append(frame)
    return frames


def lost_keys(run: Path) -> set[str]:
    """Unit keys of which a row says that there is a trace, and no sound part holds it."""

    def found(parts: Sequence[Part]) -> set[str]:
        keys: set[str] = set()
        for part in parts:
            with contextlib.suppress(StoreError):
                keys |= set(_read(part, ["unit_key"])["unit_key"].unique().to_pylist())
        return keys

    told = _traced(run)
    return told - settled(Path(run) / FOLDER, found, strict=False) if told else told


def _traced(run: Path) -> set[str]:
    """Unit keys of the traces that the measurements tell of."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_all(Path(run) / MEASUREMENTS, ("unit_key", "kind", "key"))
    of_axis = pc.is_in(table["key"], pa.array(AXES))
    known = pc.and_(pc.equal(table["kind"], Kind.TRACE.value), of_axis)
    return set(table.filter(known)["unit_key"].to_pylist())


def _read(part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(read_content(part)), columns=columns)
    except pa.ArrowException as error:
        raise StoreError(f"{part.path} is damaged ({error}); delete it and run again") from error


def _table(units: Sequence[tuple[Row, Trace]]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in ("unit_key", *COLUMNS)}
    for row, trace in units:
        count = len(trace.bits)
        for name in ("unit_key", *COLUMNS[:5]):
            columns[name] += [str(getattr(row, name))] * count
        columns["axis"] += [trace.axis] * count
        columns["kind"] += [str(trace.kind)] * count
        columns["index"] += trace.index
        columns["seconds"] += trace.seconds
        columns["bits"] += trace.bits
        columns["frames"] += [trace.frames] * count
    types = {
        "index": pa.int32(), "seconds": pa.float64(), "bits": pa.float64(), "frames": pa.int32()
    }  # fmt: skip
    fields = [(name, types.get(name, pa.string())) for name in columns]
    return pa.table(columns, schema=pa.schema(fields))
