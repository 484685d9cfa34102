"""What is kept beside the measurements in parts of its own: traces, and arrays of features.

A row among the measurements stands for each attachment and has its unit key, its labels, and what
it is (`rdbench.store.traces`, `rdbench.store.features`); the parts hold the unit key and the
content. The row is written after the part that holds the content, so that what was cut off in
between is never read; where a row's content is gone (`lost_keys`), the next run makes it again.
Readers take what the measurements tell of, and of a unit the latest part's.

Rows come and go with the spec, and what they stand for stays where it is: a row that is retired
finds it again when it comes back, and one that is relabelled never touches it. Nothing removes
the content of retired rows but whoever deletes the folders `retired`, `traces` and `features`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rdbench.store.parts import (
    MEASUREMENTS,
    Part,
    PartFolder,
    columns_in,
    list_parts,
    read_all,
    read_content,
    schema,
    settled,
    unpack,
    with_version,
)
from rdbench.store.schema import Kind
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

FOLDERS: Mapping[Kind, str] = {Kind.TRACE: "traces", Kind.FEATURE: "features"}
"""Where the attachments of a kind of rows lie."""


class Attachments:
    """The attachments of one kind under the writer of their run, which holds the lock.

    columns: the Arrow schema of their content, `unit_key` first.
    """

    def __init__(self, run: Path, kind: Kind, columns: pa.Schema) -> None:
        def read(part: Part) -> pa.Table:
            return unpack(part, read_content(part), columns)

        self._columns = columns
        self._parts = PartFolder(Path(run) / FOLDERS[kind], read, _latest)
        self._waiting: dict[str, Mapping[str, Sequence[Any]]] = {}
        self.waiting_bytes = 0

    def add(self, unit_key: str, content: Mapping[str, Sequence[Any]], size: int) -> None:
        """Takes the columns of a unit's content, of about `size` bytes."""
        self._waiting[unit_key] = content
        self.waiting_bytes += size

    def flush(self) -> None:
        """Writes what waits; raises StoreError, and keeps it then."""
        if self._waiting:
            self._parts.add(self._table())
            self._waiting, self.waiting_bytes = {}, 0
        self.merge_quietly(many=True)

    def merge_quietly(self, *, many: bool = False) -> None:
        """Merges small parts where it can (see `PartFolder`)."""
        self._parts.merge_quietly(many=many)

    def copy(self, keys: Mapping[str, str]) -> None:
        """Gives the content of units to those that `keys` names for them too; raises StoreError."""
        for part, table, found in self._parts.having(keys.keys()):
            self._parts.replace(part, _latest([table, rename(table.filter(found), keys)]))

    def copy_from(self, run: Path) -> None:
        """Takes the attachments of another run, after its own; raises StoreError."""
        for part in list_parts(Path(run) / self._parts.path.name):
            content = read_content(part)
            # Parts of an older rdbench may have other columns, and no unit of today's.
            if columns_in(part, content, self._columns) == self._columns:
                self._parts.add(unpack(part, content, self._columns))

    def drop(self, keys: Set[str]) -> None:
        """Forgets the content of these units; raises StoreError."""
        import pyarrow.compute as pc

        for part, table, found in self._parts.having(keys):
            self._parts.replace(part, table.filter(pc.invert(found)))

    def _table(self) -> pa.Table:
        import pyarrow as pa

        columns: dict[str, list[Any]] = {name: [] for name in self._columns.names}
        for unit_key, content in self._waiting.items():
            for name, values in content.items():
                columns[name] += values
            columns["unit_key"] += [unit_key] * (len(columns[name]) - len(columns["unit_key"]))
        return pa.table(columns, schema=self._columns)


def told(run: Path, kind: Kind, columns: Sequence[str] = ("unit_key",)) -> pa.Table:
    """Those columns of the rows that stand for attachments of a kind; raises StoreError."""
    import pyarrow.compute as pc

    table = read_all(Path(run) / MEASUREMENTS, ("status", *columns), kind)
    return table.filter(pc.equal(table["status"], Status.OK.value)).select(list(columns))


def attached(
    run: Path,
    kind: Kind,
    keys: Iterable[str],
    columns: pa.Schema,
    make: Callable[[pa.Table], T],
    *,
    most: Mapping[str, float],
) -> list[T]:
    """What `make` gives for each table of the content of these units.

    most: how many "rows" and "bytes" of tables may be read together. Raises StoreError where a part
    is damaged, or holds more than rdbench writes, and where there is more.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = frozenset(keys)

    def current(parts: Sequence[Part]) -> list[T]:
        missing, made = set(wanted), []
        found = {"rows": 0, "bytes": 0}
        for part in reversed(parts):  # of a unit, the latest part's
            if not missing:
                break
            content = read_content(part)
            held = unpack(part, content, schema(("unit_key",)))["unit_key"]
            here = missing.intersection(held.unique().to_pylist())
            if here:  # parts of an older rdbench have other columns, and no unit of today's
                table = unpack(part, content, columns)
                table = table.filter(pc.is_in(table["unit_key"], pa.array(here)))
                found = {"rows": found["rows"] + len(table), "bytes": found["bytes"] + table.nbytes}
                _check_most(run, kind, found, most)
                made.append(make(table))
                missing -= here
        return made

    return settled(Path(run) / FOLDERS[kind], current)


def _check_most(run: Path, kind: Kind, found: Mapping[str, int], most: Mapping[str, float]) -> None:
    for what, count in found.items():
        if count > most.get(what, math.inf):
            raise StoreError(
                f"the {FOLDERS[kind]} of {run} have more than {most[what]} {what}, which are not "
                "read at once; run fewer clips, or delete that folder and run again"
            )


def lost_keys(run: Path, *kinds: Kind) -> set[str]:
    """Unit keys of which a row says that there is an attachment, and no sound part holds it.

    kinds: of rows; all that have attachments where none is named. Raises StoreError where the
    measurements cannot be read.
    """
    import pyarrow.compute as pc

    lost: set[str] = set()
    for kind in kinds or FOLDERS:
        keys = told(run, kind)["unit_key"].combine_chunks()

        def found(parts: Sequence[Part], keys: pa.Array = keys) -> set[str]:
            there: set[str] = set()
            for part in parts:
                with contextlib.suppress(StoreError):
                    held = unpack(part, read_content(part), schema(("unit_key",)))["unit_key"]
                    there.update(held.filter(pc.is_in(held, keys)).unique().to_pylist())
            return there

        if len(keys):
            there = settled(Path(run) / FOLDERS[kind], found, strict=False)
            lost |= set(keys.to_pylist()) - there
    return lost


def damaged_parts(
    run: Path, kind: Kind, columns: pa.Schema, check: Callable[[pa.Table], object] = len
) -> list[str]:
    """A sentence for each part of a kind of attachments that is not what was written.

    Whether a row tells of its content or not. check: of a table, raises StoreError. A part of an
    older rdbench may have other columns, and no unit of today's.
    """
    problems = []
    for part in list_parts(Path(run) / FOLDERS[kind], strict=False):
        try:
            content = read_content(part)
            there = columns_in(part, content, columns)
            table = unpack(part, content, there)
            if there == columns:
                check(table)
        except FileNotFoundError:
            continue
        except StoreError as error:
            problems.append(str(error))
    return problems


def rename(table: pa.Table, keys: Mapping[str, str]) -> pa.Table:
    """The table with the unit keys that `keys` names for its own, where it names one."""
    import pyarrow as pa

    names = pa.array([keys.get(key, key) for key in table["unit_key"].to_pylist()], pa.string())
    place = table.schema.get_field_index("unit_key")
    return table.set_column(place, table.schema.field(place), names)


def _latest(tables: Sequence[pa.Table]) -> pa.Table:
    """One table in which the content of a unit is that of the last table that has it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    seen: set[str] = set()
    kept: list[pa.Table] = []
    for table in reversed(tables):
        fresh = table.filter(pc.invert(pc.is_in(table["unit_key"], pa.array(seen, pa.string()))))
        seen.update(fresh["unit_key"].unique().to_pylist())
        kept.insert(0, fresh)
    return with_version(pa.concat_tables(kept))
