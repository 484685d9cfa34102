"""The one writer of a results folder.

Rows are buffered and written as parts; a part that is in the folder is whole and stays. A flush
that fails leaves its rows in the buffer, so that it can be tried again once there is space.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rdbench.store.atomic import cannot_write, make_folder, remove_leftovers
from rdbench.store.lock import RunLock
from rdbench.store.manifest import write_manifest
from rdbench.store.parts import (
    MEASUREMENTS,
    RETIRED,
    Part,
    list_parts,
    read_all,
    read_part,
    schema,
    whole,
    write_part,
)
from rdbench.store.reader import done_keys
from rdbench.store.schema import COLUMNS, TEXT_COLUMNS, Row
from rdbench.store.traces import TraceParts
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

    from rdbench.store.traces import Trace

FLUSH_ROWS = 2000
FLUSH_SECONDS = 2.0
"""How long a row may wait to be written; no more than that is measured again after a crash."""
LARGE_PART = 250_000
"""Rows from which a part is no longer merged with others, which bounds the memory of merging."""
MANY_PARTS = 64
"""Small parts from which the writer merges them by itself."""


class RunWriter:
    """Writes rows and the manifest of one run; use it as a context manager.

    folder: the results folder, made where it is missing. flush_rows, flush_seconds: `append`
    writes a part when so many rows have gathered, or when the oldest has waited so long.

    Methods may be called from several threads of one process.

    Raises:
        StoreError: where the folder cannot be written, or another writer has it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        flush_rows: int | None = None,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self.folder = Path(folder)
        self._measurements = self.folder / MEASUREMENTS
        self._flush_rows = FLUSH_ROWS if flush_rows is None else flush_rows
        self._flush_seconds = flush_seconds
        self._rows: list[Row] = []
        self._oldest = 0.0
        self._told: list[Callable[[], None]] = []
        self._closed = self._began = False
        self._guard = threading.RLock()
        make_folder(self._measurements)
        self._lock = RunLock(self.folder)
        try:
            remove_leftovers(self.folder)
            remove_leftovers(self._measurements)
            self._traces = TraceParts(self.folder)
            if (self.folder / RETIRED).is_dir():
                remove_leftovers(self.folder / RETIRED)
            self._count_parts()
        except BaseException:
            self._lock.release()
            raise

    @property
    def pending(self) -> int:
        """Rows that are not in the folder yet."""
        return len(self._rows)

    def append(self, rows: Iterable[Row]) -> None:
        """Takes rows, and writes a part when it is time.

        Raises StoreError where that fails; the rows are kept and the next call tries again.
        """
        with self._guard:
            if self._closed:
                raise ValueError(f"the writer of {self.folder} is closed")
            if not self._began:
                self._began = True
                self._note_beginning()
            if not self._rows:
                self._oldest = time.monotonic()
            self._rows.extend(_checked(row) for row in rows)
            self.flush_if_due()

    def trace(self, row: Row, trace: Trace) -> None:
        """Takes a trace and the row that stands for it, which is written after it; as `append`."""
        with self._guard:
            self._traces.add(row, trace)
            self.append([row])

    def when_written(self, tell: Callable[[], None]) -> None:
        """Calls `tell` once all rows that were appended so far are on the disk.

        So that nothing is reported as done that a crash could still take. It is called by whoever
        flushes, or at once where nothing waits.
        """
        with self._guard:
            self._told.append(tell)
            self._tell()

    def _tell(self) -> None:
        if not self._rows:
            told, self._told = self._told, []
            for tell in told:
                tell()

    def flush_if_due(self) -> None:
        """Writes the rows when enough have gathered or waited; for loops that wait long."""
        with self._guard:
            waited = time.monotonic() - self._oldest
            if self._rows and (
                len(self._rows) >= self._flush_rows or waited >= self._flush_seconds
            ):
                self.flush()

    def flush(self) -> None:
        """Writes all rows; when it returns they survive a crash and a loss of power.

        Raises StoreError where that fails; the rows are kept.
        """
        with self._guard:
            rows = list(self._rows)
            if rows:
                self._traces.flush()
                self._write(whole(_table(rows)))
                del self._rows[: len(rows)]
                self._tell()
            if self._parts >= self._merge_at:
                self._merge_quietly()

    def write_manifest(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the manifest (see `rdbench.store.manifest.write_manifest`)."""
        return write_manifest(self.folder, manifest)

    def compact(self) -> None:
        """Merges the small parts at the end into one; harmless when cut off at any moment.

        Parts are merged from the last large one on, so that the merged one, which gets the next
        sequence number, holds later rows than all that stay. Raises StoreError where a part
        cannot be read or the merged one not be written; then the parts stay as they are.
        """
        import pyarrow as pa

        with self._guard:
            tables: list[pa.Table] = []
            small: list[Part] = []
            for part in reversed(list_parts(self._measurements)):
                table = read_part(part)
                if len(table) >= LARGE_PART:
                    break
                tables.insert(0, table)
                small.insert(0, part)
            if len(small) > 1:
                self._write(whole(pa.concat_tables(tables)))
                for part in small:
                    _remove(part)
                    self._parts -= 1
            self._merge_at = self._parts + MANY_PARTS
            del tables
            pa.default_memory_pool().release_unused()  # else a long run keeps what merging took

    def retire(self, *, keep: Set[str]) -> None:
        """Leaves only rows of the units in `keep`; the others go to the folder `retired`.

        A folder may be run again with another spec: rows that are no longer asked for would mix
        into its tables. They are moved and not deleted, and come back when they are asked for
        again. Cut off at any moment, no row is lost, and the next call finishes. Raises StoreError.
        """
        with self._guard:
            self.flush()
            retired = self.folder / RETIRED
            here = _keys(self._measurements)
            back = (_keys(retired) - here) & keep
            if here <= keep and not back:
                return
            current, before = read_all(self._measurements), read_all(retired)
            stale, wanted = _split(current, keep)
            if len(stale):
                make_folder(retired)
                _replace(retired, [before, stale])
            # Stale rows are gone only after they are on the disk in the other folder.
            _, returning = _split(before, back)
            _replace(self._measurements, [returning, wanted])
            self._count_parts()

    def close(self, *, merge: bool = True) -> None:
        """Writes what is left, merges small parts, and gives the folder back; once.

        Raises StoreError where rows could not be written, saying how many.
        """
        with self._guard:
            if self._closed:
                return
            self._closed = True
            try:
                self.flush()
                if merge:
                    self._merge_quietly()
                    self._traces.merge_quietly()
            except StoreError as error:
                raise StoreError(f"{error} ({self.pending} rows are not written)") from error
            finally:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Whoever interrupts a run does not want to wait for tidying up.
        self.close(merge=error is None)

    def _note_beginning(self) -> None:
        """Leaves in the lock's file what `rdbench status` needs for the time left."""
        with contextlib.suppress(StoreError):  # damaged parts are for those who need their rows
            self._lock.note(began=time.time(), done=len(done_keys(self.folder)))

    def _count_parts(self) -> None:
        parts = list_parts(self._measurements)
        self._next = parts[-1].sequence + 1 if parts else 1
        self._parts = len(parts)
        self._merge_at = MANY_PARTS

    def _write(self, table: pa.Table) -> None:
        # The number is used up even where writing fails: a part is then never under a number
        # that an earlier attempt may have left on the disk.
        sequence, self._next = self._next, self._next + 1
        write_part(self._measurements, sequence, table)
        self._parts += 1

    def _merge_quietly(self) -> None:
        """Merges parts where it can: the rows are safe without, and readers name damaged parts."""
        try:
            self.compact()
        except StoreError:
            self._merge_at = self._parts + MANY_PARTS


def _remove(part: Part) -> None:
    try:
        part.path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(part.path, error) from error


def _keys(folder: Path) -> set[str]:
    return set(read_all(folder, ("unit_key",))["unit_key"].to_pylist())


def _split(table: pa.Table, keep: Set[str]) -> tuple[pa.Table, pa.Table]:
    """The rows whose unit is not in `keep`, and those whose unit is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array([key in keep for key in table["unit_key"].to_pylist()], pa.bool_())
    return table.filter(pc.invert(wanted)), table.filter(wanted)


def _replace(folder: Path, tables: list[pa.Table]) -> None:
    """Makes the rows of `tables`, the later ones winning, all that `folder` holds."""
    import pyarrow as pa

    parts = list_parts(folder)
    sequence = parts[-1].sequence + 1 if parts else 1
    write_part(folder, sequence, whole(pa.concat_tables(tables)))
    for part in parts:
        _remove(part)


def _checked(row: Row) -> Row:
    """The row as the store promises it: a value where the status is ok, NaN where it is not."""
    if not row.unit_key:
        raise ValueError(f"a row without a unit key: {row}")
    if type(row.value) is not float or type(row.seconds) is not float:
        row = replace(row, value=float(row.value), seconds=float(row.seconds))
    if row.status is Status.OK and not math.isfinite(row.value):
        reason = row.reason or f"{row.key} came out as {row.value}, which is no measurement"
        return replace(row, value=math.nan, status=Status.FAILED, reason=reason)
    if row.status is not Status.OK and not math.isnan(row.value):
        return replace(row, value=math.nan)
    return row


def _table(rows: list[Row]) -> pa.Table:
    import pyarrow as pa

    columns = {}
    for name in COLUMNS:
        values = [getattr(row, name) for row in rows]
        if name in TEXT_COLUMNS:
            # File names may hold bytes that are no UTF-8, which would cost every row of the part.
            values = [str(v).encode("utf-8", "backslashreplace").decode() for v in values]
        columns[name] = values
    return pa.table(columns, schema=schema())
