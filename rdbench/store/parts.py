"""Part files: Parquet tables with a sequence number and their own checksum in the name.

`part-00000007-<first 16 hex of the file's SHA-256>.parquet`. A part is written once and never
changed. The checksum is compared before a byte is parsed, so that a truncated or altered part is
named and never half-read; a later part's row wins over an earlier one's with the same unit key, so
that merging parts may be interrupted anywhere.

What takes the place of a part has its sequence number and the next generation, `part-00000007.1-…`.
Of one sequence number the last generation alone counts, so that readers see the old part or the
new one, and never both, wherever a writer ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rdbench.files import read_file
from rdbench.store import versions
from rdbench.store.atomic import (
    is_temporary,
    make_folder,
    remove,
    remove_leftovers,
    write_atomic,
)
from rdbench.store.schema import COLUMNS, TEXT_COLUMNS, Kind
from rdbench.types import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

MEASUREMENTS = "measurements"
RETIRED = "retired"
"""Rows of units that a later spec no longer asks for: kept, but no part of the run's results."""
_NAME = re.compile(r"part-(\d{8,18})(?:\.(\d{1,18}))?-([0-9a-f]{16})\.parquet")
_VERSION_KEY = b"rdbench.schema_version"

MAX_BYTES = 2**29
"""The largest part that is read, and the most that one may hold when it is unpacked."""
MAX_ROWS = 2_000_000
"""Most rows of a part; those that rdbench writes have a tenth of that."""
MAX_RUN_ROWS = 4_000_000
MAX_RUN_BYTES = 2**30
"""Most rows, and most bytes of them, that are read of a run at once."""
SECONDS_TO_SETTLE = 10.0
"""In which a reader finds all parts of a list still there, beside a writer that merges them."""
LARGE_BYTES = 2**26
"""What parts hold at most that are made by merging smaller ones, which bounds its memory."""
MANY_PARTS = 64
"""Further parts from which a writer merges the last ones by itself."""

# Rows are kept in this order, whatever order they were finished in: by what a reader looks for
# first, and by the unit key last so that the order is total.
ORDER = (
    "system", "curve", "point", "variant", "domain", "clip", "kind", "key", "backend", "unit_key"
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Part:
    """A part file; parts sort in the order in which they were written."""

    sequence: int
    generation: int
    path: Path
    checksum: str


def list_parts(folder: Path, *, strict: bool = True) -> list[Part]:
    """The whole parts in `folder` that count, earliest first; none where there is no folder.

    Raises StoreError for a Parquet file that is no part, unless not `strict`: it may hold rows
    that nobody counts.
    """
    return list({part.sequence: part for part in _all_parts(folder, strict=strict)}.values())


def _all_parts(folder: Path, *, strict: bool) -> list[Part]:
    """The same with those that another generation has taken the place of."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(
            f"cannot read {folder} ({error.strerror}); give the folder of a run"
        ) from error
    parts = []
    for name in names:
        if match := _NAME.fullmatch(name):
            parts.append(Part(int(match[1]), int(match[2] or 0), folder / name, match[3]))
        elif strict and name.endswith(".parquet") and not is_temporary(name):
            raise StoreError(
                f"{folder / name} is not a part that rdbench wrote; move it to another folder"
            )
    return sorted(parts)


def write_part(folder: Path, sequence: int, table: pa.Table, generation: int = 0) -> Part:
    """Writes `table` as part `sequence`, whole or not at all; raises StoreError.

    Equal tables (values, order, metadata) make equal files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    checksum = hashlib.sha256(content).hexdigest()[:16]
    number = f"{sequence:08d}.{generation}" if generation else f"{sequence:08d}"
    path = folder / f"part-{number}-{checksum}.parquet"
    write_atomic(path, content, within=folder.parent)
    return Part(sequence, generation, path, checksum)


def read_content(part: Part) -> bytes:
    """The bytes of a part, which are those that were written.

    Raises FileNotFoundError where it has just gone, and StoreError where it is damaged.
    """
    try:
        content = read_file(part.path, MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(
            f"cannot read {part.path} ({error.strerror}); check the disk or the file's permissions"
        ) from error
    if hashlib.sha256(content).hexdigest()[:16] != part.checksum:
        raise _damaged(part)
    return content


def read_part(part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of one part of measurements, or some of its columns.

    Raises FileNotFoundError where a writer has just merged it away, and StoreError where it is
    damaged, or of a schema that this version does not know.
    """
    return unpack(part, read_content(part), schema(columns), versions.upgrade_table)


def unpack(
    part: Part,
    content: bytes,
    columns: pa.Schema,
    upgrade: Callable[[pa.Table, int], pa.Table] | None = None,
) -> pa.Table:
    """Those columns of what `read_content` gave, held against the limits of a part.

    upgrade: makes a table of this version from the whole one of an older version. Raises
    StoreError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(pa.BufferReader(content))
        version = _version(part, metadata.metadata or {}, needed=upgrade is not None)
        _check_size(part, metadata)
        # Text stays a table of distinct values until its real size is known: a few kilobytes of
        # Parquet can repeat a long text millions of times.
        leaves = [metadata.schema.column(place) for place in range(metadata.num_columns)]
        text = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        source = pq.ParquetFile(pa.BufferReader(content), read_dictionary=text)
        old = upgrade is not None and version < versions.SCHEMA_VERSION
        table = source.read(columns=None if old else columns.names)
        table.validate(full=True)
        _check_text(part, table)
        if upgrade is not None and old:
            table = upgrade(table, version)
        table = table.select(columns.names).cast(columns)
        if any(column.null_count for column in table.columns):
            raise _damaged(part)
        # Without the metadata, so that tables of several parts can be joined.
        return table.replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise _damaged(part) from error


def read_all(
    folder: Path, columns: Sequence[str] | None = None, kind: Kind | None = None
) -> pa.Table:
    """Every row of the parts in `folder`, the latest of each unit key; `columns` must have it.

    kind: of the rows, all without. Raises StoreError for a damaged or too new part.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = list(columns or COLUMNS)

    def read(part: Part) -> pa.Table:
        if kind is None:
            return read_part(part, names)
        table = read_part(part, list(dict.fromkeys((*names, "kind"))))
        return table.filter(pc.equal(table["kind"], kind.value)).select(names)

    tables = settled(folder, lambda parts: list(bounded(map(read, parts), folder)))
    return latest(pa.concat_tables([schema(names).empty_table(), *tables]))


def bounded(tables: Iterable[pa.Table], what: Path) -> Iterator[pa.Table]:
    """The tables, as long as all of them together are what is read at once; raises StoreError."""
    rows = size = 0
    for table in tables:
        rows, size = rows + len(table), size + table.nbytes
        if rows > MAX_RUN_ROWS or size > MAX_RUN_BYTES:
            raise StoreError(
                f"{what} holds more than the {MAX_RUN_ROWS} rows or {MAX_RUN_BYTES} bytes that are "
                "read at once; give a run of fewer clips"
            )
        yield table


def settled(folder: Path, read: Callable[[list[Part]], T], *, strict: bool = True) -> T:
    """What `read` makes of the parts in `folder`, all of which were there while it read.

    Raises StoreError for a folder that changes too fast, and as `list_parts` and `read` do.
    """
    limit = time.monotonic() + SECONDS_TO_SETTLE
    while time.monotonic() < limit:
        # A writer may merge parts meanwhile: the merged one is there before they go.
        with contextlib.suppress(FileNotFoundError):
            return read(list_parts(folder, strict=strict))
    raise StoreError(f"{folder} changes faster than it can be read; wait until the run has ended")


def latest(table: pa.Table) -> pa.Table:
    """The last row of every unit key, in the order of their places in `table`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pa.table({"key": table["unit_key"], "place": np.arange(len(table))})
    last = places.group_by("key").aggregate([("place", "max")])["place_max"]
    if len(last) == len(table):
        return table
    return table.take(last.take(pc.sort_indices(last)))


def columns_of(table: pa.Table) -> dict[str, list[Any]]:
    """The columns as lists, equal texts of one being one object: most texts are labels."""
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        coded = column.combine_chunks().dictionary_encode()
        distinct = coded.dictionary.to_pylist()
        found[name] = [distinct[code] for code in coded.indices.to_numpy()]
    return found


def ordered(table: pa.Table) -> pa.Table:
    """The rows sorted by ORDER, so that equal measurements make equal tables."""
    return table.sort_by([(column, "ascending") for column in ORDER]).combine_chunks()


def whole(table: pa.Table) -> pa.Table:
    """What a part holds of some rows: each unit's latest, ordered, with the schema version."""
    return with_version(ordered(latest(table)))


def schema(columns: Sequence[str] | None = None) -> pa.Schema:
    """The Arrow schema of the columns of `Row`, or of some of them."""
    import pyarrow as pa

    types = {column: pa.string() for column in TEXT_COLUMNS}
    return pa.schema([(column, types.get(column, pa.float64())) for column in columns or COLUMNS])


def with_version(table: pa.Table) -> pa.Table:
    """The table with the schema version in its metadata, as parts carry it."""
    return table.replace_schema_metadata({_VERSION_KEY: str(versions.SCHEMA_VERSION).encode()})


def columns_in(part: Part, content: bytes, columns: pa.Schema) -> pa.Schema:
    """Those of `columns` that a part of its schema has: all of today's, of an older one some.

    Raises StoreError for what is no part.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(pa.BufferReader(content))
        names = set(metadata.schema.names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(part) from error
    if _version(part, metadata.metadata or {}, needed=False) == versions.SCHEMA_VERSION:
        return columns
    return pa.schema([field for field in columns if field.name in {"unit_key", *names}])


def _version(part: Part, metadata: dict[bytes, bytes], *, needed: bool) -> int:
    try:
        version = int(metadata[_VERSION_KEY] if needed else metadata.get(_VERSION_KEY, b"1"))
    except (KeyError, ValueError):
        raise _damaged(part) from None
    if version > versions.SCHEMA_VERSION:
        raise versions.too_new(part.path, version)
    if version < 1:
        raise _damaged(part)
    return version


def _check_size(part: Part, metadata: Any) -> None:
    """Refuses what would not fit, before anything is unpacked."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if metadata.num_rows > MAX_ROWS or unpacked > MAX_BYTES:
        raise StoreError(
            f"{part.path} would unpack to {metadata.num_rows} rows and {unpacked} bytes, more than "
            f"rdbench writes into one part; remove it, or restore it from a copy"
        )


def _check_text(part: Part, table: pa.Table) -> None:
    """The same for text that is repeated, whose size only the values themselves tell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for column in table.columns:
        for chunk in column.chunks:
            if pa.types.is_dictionary(chunk.type) and len(chunk):
                lengths = pc.binary_length(chunk.dictionary)
                total += pc.sum(lengths.cast(pa.int64()).take(chunk.indices)).as_py() or 0
    if total > MAX_BYTES:
        raise StoreError(
            f"{part.path} would unpack to {total} bytes of text, more than rdbench writes into one "
            "part; remove it, or restore it from a copy"
        )


def _damaged(part: Part) -> StoreError:
    return StoreError(
        f"{part.path} is damaged (its content is not what was written); restore it from a copy, "
        "or delete it and run again: only its units are repeated"
    )


class PartFolder:
    """The parts of one folder under their writer, which holds the lock of the run.

    read: the table of a part. join: what a part holds of some tables, of which later ones win.
    The folder, which lies in that of the run, is made when the first part is written.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Part], pa.Table] = read_part,
        join: Callable[[Sequence[pa.Table]], pa.Table] | None = None,
    ) -> None:
        self.path = path
        self._read = read
        self._join = join or _whole_of
        if path.is_dir():
            remove_leftovers(path, within=path.parent)
            self._remove_replaced()
        parts = list_parts(path, strict=False)
        self._next = parts[-1].sequence + 1 if parts else 1
        self._count = len(parts)
        self._merge_at = MANY_PARTS

    def add(self, *tables: pa.Table) -> None:
        """Writes a part of some tables after all others; raises StoreError."""
        make_folder(self.path, within=self.path.parent)
        # The number is used up even where writing fails: a part is then never under a number
        # that an earlier attempt may have left on the disk.
        sequence, self._next = self._next, self._next + 1
        write_part(self.path, sequence, self._join(tables))
        self._count += 1

    def replace(self, part: Part, table: pa.Table) -> None:
        """Puts `table` in the place of a part; one without rows goes. Raises StoreError."""
        if len(table):
            write_part(self.path, part.sequence, self._join([table]), part.generation + 1)
        else:
            self._count -= 1
        _remove(part)

    def having(self, keys: Set[str]) -> Iterator[tuple[Part, pa.Table, pa.Array]]:
        """The parts with rows of these units, their tables, and which rows those are.

        Each may be replaced before the next is asked for. Raises StoreError.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        sought = pa.array(keys, pa.string())
        for part in list_parts(self.path) if keys else ():
            held = unpack(part, read_content(part), schema(("unit_key",)))["unit_key"]
            if pc.any(pc.is_in(held, sought)).as_py():
                table = self._read(part)
                yield part, table, pc.is_in(table["unit_key"], sought)

    def merge(self) -> None:
        """Makes one part of the last ones, as many as fit; harmless when cut off at any moment.

        From the end, so that the merged part, which gets the next sequence number, holds later
        rows than all that stay. Raises StoreError where a part cannot be read or the merged one not
        be written; then the parts stay as they are.
        """
        import pyarrow as pa

        self._remove_replaced()
        tables: list[pa.Table] = []
        small: list[Part] = []
        size = 0
        for part in reversed(list_parts(self.path)):
            table = self._read(part)
            size += table.nbytes
            if size > LARGE_BYTES:
                break
            tables.insert(0, table)
            small.insert(0, part)
        if len(small) > 1:
            self.add(*tables)
            for part in small:
                _remove(part)
                self._count -= 1
        self._merge_at = self._count + MANY_PARTS
        del tables
        pa.default_memory_pool().release_unused()  # else a long run keeps what merging took

    def merge_quietly(self, *, many: bool = False) -> None:
        """Merges where it can: what is written is safe without, and readers name damaged parts.

        many: only where parts have become many.
        """
        if not many or self._count >= self._merge_at:
            self._merge_at = self._count + MANY_PARTS
            with contextlib.suppress(StoreError, FileNotFoundError):
                self.merge()

    def _remove_replaced(self) -> None:
        counting = set(list_parts(self.path, strict=False))
        for part in _all_parts(self.path, strict=False):
            if part not in counting:
                _remove(part)


def _whole_of(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return whole(pa.concat_tables(tables))


def _remove(part: Part) -> None:
    folder = part.path.parent
    remove(part.path, within=folder.parent)
