"""Traces beside the measurements: bits per channel of a posterior, and per frame on request.

`traces/` holds one row per entry of a trace (see `rdbench.store.attachments`). A row of the kind
`trace` among the measurements, whose key is the axis, says that a unit has one and what it sums to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rdbench.store.attachments import attached, told
from rdbench.store.schema import Kind
from rdbench.types import RateKind, StoreError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

AXES = ("frame", "channel")
"""What rows of traces have in their column `key`."""
_LABELS = ("system", "curve", "point", "variant", "clip")
_ENTRY = ("axis", "index", "seconds", "kind", "bits", "frames")
COLUMNS = (*_LABELS, *_ENTRY)
MAX_ENTRIES = 4_000_000
"""Most entries that are read at once; ten minutes of audio have 30,000 frames."""
MAX_LABELS = 2_000
"""Most characters of all labels of an entry: they are repeated for each."""
ENTRY_BYTES = 100
"""About what an entry takes in memory."""


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


def trace_columns() -> pa.Schema:
    """What is kept of an entry; parts of version 1 hold labels too, which nobody reads."""
    import pyarrow as pa

    types = {
        "index": pa.int32(), "seconds": pa.float64(), "bits": pa.float64(), "frames": pa.int32()
    }  # fmt: skip
    return pa.schema([(name, types.get(name, pa.string())) for name in ("unit_key", *_ENTRY)])


def trace_content(trace: Trace) -> dict[str, Sequence[Any]]:
    """The columns of a trace but for the unit key."""
    count = len(trace.bits)
    return {
        "axis": [trace.axis] * count,
        "index": trace.index,
        "seconds": trace.seconds,
        "kind": [str(trace.kind)] * count,
        "bits": trace.bits,
        "frames": [trace.frames] * count,
    }


def read_traces(run: Path) -> pd.DataFrame:
    """Every trace of a run, one row per entry; empty where there is none.

    Columns: system, curve, point, variant, clip; axis ("frame" or "channel"); index along it, −1
    for side information, which belongs to none; seconds (where a frame begins; NaN where unknown,
    and for channels); kind (of rate); bits; frames (over how many an entry sums). The bits of a
    unit along an axis sum to its rate of that kind. Ordered by the first five columns, axis and
    index. Raises StoreError for a damaged part or table of measurements.
    """
    import pandas as pd

    labels = told(run, Kind.TRACE, ("unit_key", "key", *_LABELS)).to_pandas()
    labels = labels[labels["key"].isin(AXES)]  # an older rdbench had one unit for both
    lengths = labels[list(_LABELS)].map(len).sum(axis=1)
    if len(lengths) and lengths.max() > MAX_LABELS:
        raise StoreError(
            f"the traces of {run} are of names of more than {MAX_LABELS} characters; restore the "
            "measurements from a copy"
        )
    frames = attached(
        run,
        Kind.TRACE,
        labels["unit_key"],
        trace_columns(),
        lambda table: table.to_pandas(),
        most={"rows": MAX_ENTRIES},
    )
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    entries = pd.concat(frames, ignore_index=True).merge(labels, on="unit_key")
    ordered: pd.DataFrame = entries[list(COLUMNS)].sort_values(
        [*_LABELS, "axis", "index"], kind="stable", ignore_index=True
    )
    return ordered


def check_traces(table: pa.Table) -> None:
    """Raises StoreError for a table of content that is none of traces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = {"axis": AXES, "kind": tuple(RateKind)}
    for column, names in known.items():
        if not pc.all(pc.is_in(table[column], pa.array(map(str, names)))).as_py():
            raise StoreError(
                f"a part of traces has an unknown {column}; delete the folder traces and run again"
            )
