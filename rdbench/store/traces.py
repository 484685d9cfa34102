"""Traces beside the measurements: bits per channel of a posterior, and per frame on request.

`traces/` holds Parquet parts with one row per entry of a trace. As with kept audio, a row of the
kind `trace` among the measurements, whose key is the axis, says that a unit has one and what it
sums to; it is written after the part that holds the trace, and comes and goes with the spec. What
was cut off in between, and traces of other inputs, are never read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rdbench.store.atomic import make_folder, remove_leftovers
from rdbench.store.parts import MEASUREMENTS, list_parts, read_all, write_part
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
FLUSH_ENTRIES = 500_000


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


class TraceWriter:
    """Gathers traces and writes them in parts; needs the folder's lock, which the row writer has.

    written: takes the rows of traces that are on the disk.
    """

    def __init__(self, run: Path, written: Callable[[Iterable[Row]], None]) -> None:
        self._folder = Path(run) / FOLDER
        if self._folder.exists():
            remove_leftovers(self._folder)
        parts = list_parts(self._folder)
        self._next = parts[-1].sequence + 1 if parts else 1
        self._written = written
        self._waiting: list[tuple[Row, Trace]] = []
        self._entries = 0

    def write(self, row: Row, trace: Trace) -> None:
        """Takes a trace and the row that stands for it; raises StoreError."""
        self._waiting.append((row, trace))
        self._entries += len(trace.bits)
        if self._entries >= FLUSH_ENTRIES:
            self.flush()

    def flush(self) -> None:
        """Writes what waits, traces first; raises StoreError, and keeps it then."""
        if not self._waiting:
            return
        make_folder(self._folder)
        write_part(self._folder, self._next, _table(self._waiting))
        self._next += 1
        rows = [row for row, _ in self._waiting]
        self._waiting, self._entries = [], 0
        self._written(rows)


def read_traces(run: Path) -> pd.DataFrame:
    """Every trace of a run, one row per entry; empty where there is none.

    Columns: system, curve, point, variant, clip; axis ("frame" or "channel"); index along it, −1
    for side information, which belongs to none; seconds (where a frame begins; NaN where unknown,
    and for channels); kind (of rate); bits; frames (over how many an entry sums). The bits of a
    unit along an axis sum to its rate of that kind. Ordered by the first five columns, axis and
    index. Raises StoreError for a damaged part or table of measurements.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_all(Path(run) / MEASUREMENTS, ("unit_key", "kind", "key"))
    of_axis = pc.is_in(table["key"], pa.array(AXES))
    known = pc.and_(pc.equal(table["kind"], Kind.TRACE.value), of_axis)
    current = set(table.filter(known)["unit_key"].to_pylist())
    frames = []
    for part in reversed(list_parts(Path(run) / FOLDER)):  # of a unit, the latest part's
        frame = _read(part.path, part.checksum)
        frame = frame[frame["unit_key"].isin(current)]
        current -= set(frame["unit_key"].unique())
        if len(frame):  # parts of an older rdbench have fewer columns, and no unit of today's
            frames.append(frame)
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    whole = pd.concat(frames, ignore_index=True)[list(COLUMNS)]
    ordered: pd.DataFrame = whole.sort_values(
        [*COLUMNS[:5], "axis", "index"], kind="stable", ignore_index=True
    )
    return ordered


def _read(path: Path, checksum: str) -> Any:
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[: len(checksum)] != checksum:
            raise ValueError("its content is not what was written")
        return pq.read_table(pa.BufferReader(content)).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete the folder {path.parent} and run with --traces"
        ) from error


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
