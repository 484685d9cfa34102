"""Part files: Parquet tables with a sequence number and their own checksum in the name.

`part-00000007-<first 16 hex of the file's SHA-256>.parquet`. A part is written once and never
changed. The checksum is compared before a byte is parsed, so that a truncated or altered part is
named and never half-read; a later part's row wins over an earlier one's with the same unit key, so
that merging parts may be interrupted anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rdbench.store import versions
from rdbench.store.atomic import is_temporary, write_atomic
from rdbench.store.schema import COLUMNS, TEXT_COLUMNS
from rdbench.types import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

MEASUREMENTS = "measurements"
RETIRED = "retired"
"""Rows of units that a later spec no longer asks for: kept, but no part of the run's results."""
_NAME = re.compile(r"part-(\d{8,})-([0-9a-f]{16})\.parquet")
_VERSION_KEY = b"rdbench.schema_version"

MAX_BYTES = 2**29
"""The largest part that is read, and the most that one may hold when it is unpacked."""
MAX_ROWS = 10_000_000

# Rows are kept in this order, whatever order they were finished in: by what a reader looks for
# first, and by the unit key last so that the order is total.
ORDER = (
    "system", "curve", "point", "variant", "domain", "clip", "kind", "key", "backend", "unit_key"
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Part:
    """A part file; parts sort in the order in which they were written."""

    sequence: int
    path: Path
    checksum: str


def list_parts(folder: Path, *, strict: bool = True) -> list[Part]:
    """The whole parts in `folder`, earliest first; none where there is no folder.

    Raises StoreError for a Parquet file that is no part, unless not `strict`: it may hold rows
    that nobody counts.
    """
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
            parts.append(Part(int(match[1]), folder / name, match[2]))
        elif strict and name.endswith(".parquet") and not is_temporary(name):
            raise StoreError(
                f"{folder / name} is not a part that rdbench wrote; move it to another folder"
            )
    return sorted(parts)


def write_part(folder: Path, sequence: int, table: pa.Table) -> Part:
    """Writes `table` as part `sequence`, whole or not at all; raises StoreError.

    Equal tables (values, order, metadata) make equal files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    checksum = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"part-{sequence:08d}-{checksum}.parquet"
    write_atomic(path, content)
    return Part(sequence, path, checksum)


def read_content(part: Part) -> bytes:
    """The bytes of a part, which are those that were written.

    Raises FileNotFoundError where it has just gone, and StoreError where it is damaged.
    """
    try:
        with part.path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
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
    """The table of one part, or some of its columns.

    Raises FileNotFoundError where a writer has just merged it away, and StoreError where it is
    damaged, or of a schema that this version does not know.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = read_content(part)
    try:
        metadata = pq.read_metadata(pa.BufferReader(content))
        version = _version(part, metadata.metadata or {})
        _check_size(part, metadata)
        # Text stays a table of distinct values until its real size is known: a few kilobytes of
        # Parquet can repeat a long text millions of times.
        text = [name for name in metadata.schema.names if name in TEXT_COLUMNS]
        source = pq.ParquetFile(pa.BufferReader(content), read_dictionary=text)
        old = version < versions.SCHEMA_VERSION
        table = source.read(columns=None if old else list(columns or COLUMNS))
        table.validate(full=True)
        _check_text(part, table)
        if old:
            table = versions.upgrade_table(table, version).select(list(columns or COLUMNS))
        # Without the metadata, so that tables of several parts can be joined.
        return table.cast(schema(columns)).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise _damaged(part) from error


def read_all(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Every row of the parts in `folder`, the latest of each unit key; `columns` must have it.

    Raises StoreError for a damaged or too new part.
    """
    import pyarrow as pa

    tables = settled(folder, lambda parts: [read_part(part, columns) for part in parts])
    return latest(pa.concat_tables([schema(columns).empty_table(), *tables]))


def settled(folder: Path, read: Callable[[list[Part]], T], *, strict: bool = True) -> T:
    """What `read` makes of the parts in `folder`, all of which were there while it read.

    Raises StoreError for a folder that changes too fast, and as `list_parts` and `read` do.
    """
    for _ in range(20):
        # A writer may merge parts meanwhile: the merged one is there before they go.
        with contextlib.suppress(FileNotFoundError):
            return read(list_parts(folder, strict=strict))
    raise StoreError(f"{folder} changes faster than it can be read; wait until the run has ended")


def latest(table: pa.Table) -> pa.Table:
    """The last row of every unit key, in the order of their places in `table`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pa.table({"key": table["unit_key"], "place": pa.array(range(len(table)), pa.int64())})
    last = places.group_by("key").aggregate([("place", "max")])["place_max"]
    if len(last) == len(table):
        return table
    return table.take(last.take(pc.sort_indices(last)))


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


def _version(part: Part, metadata: dict[bytes, bytes]) -> int:
    try:
        version = int(metadata[_VERSION_KEY])
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
