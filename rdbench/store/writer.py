"""The one writer of a results folder.

Rows are buffered and written as parts; a part that is in the folder is whole and stays. A flush
that fails leaves its rows in the buffer, so that it can be tried again once there is space.

Rows that are there can be moved aside and back, called otherwise, and filed under other keys, and
those of another run can be taken in. Each of these goes part by part, so that its memory is that of
a part, and may end at any moment: no row is lost, and the same call finishes what was begun.
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

from rdbench.store import parts
from rdbench.store.atomic import make_folder, remove_leftovers
from rdbench.store.attachments import Attachments, rename
from rdbench.store.audio import copy_audio, rename_audio
from rdbench.store.features import feature_columns, feature_content
from rdbench.store.lock import RunLock
from rdbench.store.manifest import write_manifest
from rdbench.store.parts import (
    MEASUREMENTS,
    RETIRED,
    PartFolder,
    list_parts,
    read_all,
    read_part,
    schema,
)
from rdbench.store.reader import done_keys
from rdbench.store.schema import COLUMNS, LABELS, TEXT_COLUMNS, Kind, Labels, Quantity, Row
from rdbench.store.traces import ENTRY_BYTES, trace_columns, trace_content
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from rdbench.store.traces import Trace

FLUSH_ROWS = 2000
FLUSH_SECONDS = 2.0
"""How long a row may wait to be written; no more than that is measured again after a crash."""


class RunWriter:
    """Writes rows and the manifest of one run; use it as a context manager.

    folder: the results folder, made where it is missing. flush_rows, flush_seconds: `append`
    writes a part when so many rows have gathered, when the oldest has waited so long, or when much
    of what lies beside rows waits with them.

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
        self._flush_rows = FLUSH_ROWS if flush_rows is None else flush_rows
        self._flush_seconds = flush_seconds
        self._rows: list[Row] = []
        self._oldest = 0.0
        self._told: list[Callable[[], None]] = []
        self._closed = self._began = False
        self._guard = threading.RLock()
        make_folder(self.folder / MEASUREMENTS, within=self.folder)
        self._lock = RunLock(self.folder)
        self._place = _place(self.folder)
        try:
            remove_leftovers(self.folder)
            self._measurements = PartFolder(self.folder / MEASUREMENTS)
            self._retired = PartFolder(self.folder / RETIRED)
            self._traces = Attachments(self.folder, Kind.TRACE, trace_columns())
            self._features = Attachments(self.folder, Kind.FEATURE, feature_columns())
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
            content = trace_content(trace)
            self._traces.add(row.unit_key, content, ENTRY_BYTES * len(trace.bits))
            self.append([row])

    def feature(self, row: Row, array: npt.NDArray[Any]) -> None:
        """Takes an array and the row of the kind feature that stands for it; as `trace`.

        Raises ValueError for an array that cannot be kept (`rdbench.store.features`).
        """
        with self._guard:
            self._features.add(row.unit_key, feature_content(array), array.nbytes)
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
            beside = self._traces.waiting_bytes + self._features.waiting_bytes
            if self._rows and (
                len(self._rows) >= self._flush_rows
                or waited >= self._flush_seconds
                or beside >= parts.LARGE_BYTES
            ):
                self.flush()

    def flush(self) -> None:
        """Writes all rows; when it returns they survive a crash and a loss of power.

        Raises StoreError where that fails; the rows are kept.
        """
        with self._guard:
            rows = list(self._rows)
            self._check_place()
            if rows:
                self._traces.flush()
                self._features.flush()
                self._measurements.add(_table(rows))
                del self._rows[: len(rows)]
                self._tell()
            self._measurements.merge_quietly(many=True)

    def write_manifest(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the manifest (see `rdbench.store.manifest.write_manifest`)."""
        self._check_place()
        return write_manifest(self.folder, manifest)

    def compact(self) -> None:
        """Merges the small parts at the end into one (see `PartFolder.merge`)."""
        with self._guard:
            self._measurements.merge()

    def retire(self, stale: Set[str]) -> None:
        """Moves the rows of these units to the folder `retired`.

        A folder may be run again with another spec: rows that are no longer asked for would mix
        into its tables. They come back by `recall`; what lies beside them (traces, features, kept
        audio) stays where it is meanwhile. Raises StoreError.
        """
        import pyarrow.compute as pc

        with self._guard:
            self.flush()
            for part, table, found in self._measurements.having(stale):
                # Rows are gone only after they are on the disk in the other folder.
                self._retired.add(table.filter(found))
                self._measurements.replace(part, table.filter(pc.invert(found)))
            self._retired.merge_quietly(many=True)

    def recall(self, wanted: Set[str]) -> int:
        """Brings back retired rows of these units, those that the folder lacks; returns how many.

        Raises StoreError.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        with self._guard:
            self.flush()
            aside = read_all(self._retired.path, ("unit_key",))["unit_key"]
            wanted = wanted & set(aside.to_pylist())
            missing = set(wanted)
            for _, table, found in self._measurements.having(wanted):
                missing -= set(table["unit_key"].filter(found).to_pylist())
            left = set(missing)
            for part in reversed(list_parts(self._retired.path)) if missing else ():
                table = read_part(part)
                rows = table.filter(pc.is_in(table["unit_key"], pa.array(left, pa.string())))
                if len(rows):
                    self._measurements.add(rows)
                    left -= set(rows["unit_key"].to_pylist())
            for part, table, found in self._retired.having(wanted):
                self._retired.replace(part, table.filter(pc.invert(found)))
            return len(missing)

    def relabel(self, labels: Mapping[str, Labels]) -> int:
        """Gives rows the labels that `labels` names for their unit keys.

        Returns how many rows had others. Where none had, only the labels are read. Raises
        StoreError.
        """
        import pyarrow.compute as pc

        changed = 0
        with self._guard:
            self.flush()
            for part in list_parts(self._measurements.path) if labels else ():
                columns, differs = _relabelled(read_part(part, ("unit_key", *LABELS)), labels)
                if count := pc.sum(differs).as_py():
                    changed += count
                    table = read_part(part)
                    for name, values in columns.items():
                        table = table.set_column(COLUMNS.index(name), name, values)
                    self._measurements.replace(part, table)
        return changed

    def rekey(
        self, keys: Mapping[str, str], quantities: Mapping[str, Quantity] | None = None
    ) -> int:
        """Files the rows of units under other keys (old to new), and all that lies beside them.

        quantities: what rows under these new keys are of from then on, where that changes.

        Rows that a unit already has under its new key win over those under the old one. Returns how
        many rows were under an old key. Raises StoreError, and ValueError where a key is both old
        and new: then a second call would do something else than finish the first.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if both := keys.keys() & set(keys.values()):
            raise ValueError(f"units cannot be filed anew under keys that change: {min(both)}")
        changed = 0
        with self._guard:
            self.flush()
            # Rows find what lies beside them under either key, until all of them have the new one;
            # kept audio alone is found again only when the last have it.
            for beside in (self._traces, self._features):
                beside.copy(keys)
            rename_audio(self.folder, keys)
            for folder in (self._retired, self._measurements):
                for part, table, found in folder.having(keys.keys()):
                    renamed = rename(table.filter(found), keys)
                    renamed = _of_quantities(renamed, quantities or {})
                    changed += len(renamed)
                    others = table.filter(pc.invert(found))
                    folder.replace(part, pa.concat_tables([renamed, others]))
            for beside in (self._traces, self._features):
                beside.drop(keys.keys())
        return changed

    def copy_from(self, run: Path, rows: pa.Table, aside: pa.Table) -> None:
        """Takes rows of another run, some of them as retired, and all that lies beside them.

        Of what lies beside one unit in several runs, that of the last run that is taken counts.
        Raises StoreError.
        """
        with self._guard:
            self.flush()
            for beside in (self._traces, self._features):
                beside.copy_from(run)
            for table, folder in ((aside, self._retired), (rows, self._measurements)):
                copy_audio(run, self.folder, _kept_keys(table))
                # Parts have a size that readers take.
                size = max(1, len(table) * parts.LARGE_BYTES // max(table.nbytes, 1))
                for start in range(0, len(table), size):
                    folder.add(table.slice(start, size))

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
                    for written in (self._measurements, self._traces, self._features):
                        written.merge_quietly()
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

    def _check_place(self) -> None:
        """Raises StoreError where the folder is not the one that is locked any more.

        Else a folder that was moved would be begun anew in its old place, without what it holds.
        """
        if _place(self.folder) != self._place:
            raise StoreError(
                f"{self.folder} is not where it was when the run began: it was moved, replaced or "
                "removed; run again where it is now, what was written is kept"
            )

    def _note_beginning(self) -> None:
        """Leaves in the lock's file what `rdbench status` needs for the time left."""
        with contextlib.suppress(StoreError):  # damaged parts are for those who need their rows
            self._lock.note(began=time.time(), done=len(done_keys(self.folder)))


def _of_quantities(table: pa.Table, quantities: Mapping[str, Quantity]) -> pa.Table:
    """The rows with the key and the backend of the quantities that these name for their units."""
    import pyarrow as pa

    units = table["unit_key"].to_pylist()
    for name, of in (("key", "key"), ("backend", "model")):
        old = table[name].to_pylist()
        values = [
            getattr(quantities[unit], of) if unit in quantities else value
            for unit, value in zip(units, old, strict=True)
        ]
        place = COLUMNS.index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(values, pa.string()).cast(field.type))
    return table


def _place(folder: Path) -> tuple[int, int] | None:
    """Which folder lies at a path; None for none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _kept_keys(table: pa.Table) -> set[str]:
    import pyarrow.compute as pc

    found = table["unit_key"].filter(pc.equal(table["kind"], Kind.AUDIO.value))
    return set(found.to_pylist())


def _relabelled(
    table: pa.Table, labels: Mapping[str, Labels]
) -> tuple[dict[str, pa.ChunkedArray], pa.ChunkedArray]:
    """The columns of labels as they shall be, and which rows have others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = [labels.get(key) for key in table["unit_key"].to_pylist()]
    columns, differs = {}, pa.chunked_array([pa.repeat(False, len(table))])
    for name in LABELS:
        named = [None if one is None else _text(getattr(one, name)) for one in wanted]
        columns[name] = pc.coalesce(pa.chunked_array([named], pa.string()), table[name])
        differs = pc.or_(differs, pc.not_equal(columns[name], table[name]))
    return columns, differs


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
            values = [_text(value) for value in values]
        columns[name] = values
    return pa.table(columns, schema=schema())


def _text(value: object) -> str:
    """Text as a part can hold it: a file name that is no UTF-8 would cost all of its rows."""
    return str(value).encode("utf-8", "backslashreplace").decode()
