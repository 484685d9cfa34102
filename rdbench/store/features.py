"""Arrays beside the measurements, of which the value of a set of clips and its interval are made.

`features/` holds one row per array (see `rdbench.store.attachments`): its type, its shape, and its
values in C order, little-endian. A row of the kind `feature` among the measurements says whose it
is: key is that of the metric, or the name of what its metrics share, and backend tells apart what
belongs to one of these (see `Quantity.model`). A metric's card says where the features of its clips
are.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.store.attachments import attached, told
from rdbench.store.schema import Kind, Quantity
from rdbench.types import StoreError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

TYPES = ("float32", "float64", "int32", "int64")
MAX_ARRAY_BYTES = 2**26
_LABELS = ("system", "curve", "point", "variant", "domain", "clip")


@dataclass(frozen=True)
class Feature:
    """An array and whose it is; labels as in `Row`."""

    unit_key: str
    system: str
    curve: str
    point: str
    variant: str
    domain: str
    clip: str
    array: npt.NDArray[Any]


def feature_columns() -> pa.Schema:
    """What is kept of an array."""
    import pyarrow as pa

    text = [(name, pa.string()) for name in ("unit_key", "type", "shape")]
    return pa.schema([*text, ("values", pa.binary())])


def feature_content(array: npt.NDArray[Any]) -> dict[str, Sequence[Any]]:
    """The columns of an array but for the unit key; ValueError for one that cannot be kept."""
    import numpy as np

    array = np.asarray(array)
    if array.dtype.name not in TYPES or array.nbytes > MAX_ARRAY_BYTES:
        raise ValueError(
            f"an array of {array.nbytes} bytes, type {array.dtype}, is no feature: "
            f"{', '.join(TYPES)} up to {MAX_ARRAY_BYTES} bytes are kept"
        )
    return {
        "type": [array.dtype.name],
        "shape": ["x".join(map(str, array.shape))],
        "values": [array.astype(array.dtype.newbyteorder("<")).tobytes()],
    }


def read_features(
    run: Path,
    quantity: Quantity,
    keys: Container[str] | None = None,
    *,
    most: int | None = None,
) -> list[Feature]:
    """The arrays of a quantity, whose model is exactly the rows' backend; ordered by their labels.

    keys: of the units that are wanted, all without: a run's arrays may be more than memory holds.
    most: bytes of arrays that are read. Raises StoreError for a part that is damaged or holds what
    is no array that rdbench keeps, and for more than that.
    """
    rows = told(run, Kind.FEATURE, ("unit_key", "key", "backend", *_LABELS)).to_pylist()
    labels = {
        row["unit_key"]: {name: row[name] for name in _LABELS}
        for row in rows
        if (row["key"], row["backend"]) == (quantity.key, quantity.model)
        and (keys is None or row["unit_key"] in keys)
    }
    arrays: dict[str, npt.NDArray[Any]] = {}
    limits = {} if most is None else {"bytes": most}
    for found in attached(run, Kind.FEATURE, labels, feature_columns(), _arrays, most=limits):
        arrays |= found
    features = [Feature(key, **labels[key], array=array) for key, array in arrays.items()]
    return sorted(features, key=lambda one: (*(getattr(one, n) for n in _LABELS), one.unit_key))


def check_features(table: pa.Table) -> None:
    """Raises StoreError as `read_features` does, for a table of content."""
    _arrays(table)


def _arrays(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    return {row["unit_key"]: _array(row) for row in table.to_pylist()}


def _array(row: dict[str, Any]) -> npt.NDArray[Any]:
    import numpy as np

    values, name = row["values"], row["type"]
    try:
        if name not in TYPES or len(row["shape"]) > 200 or len(values) > MAX_ARRAY_BYTES:
            raise ValueError
        shape = tuple(int(size) for size in row["shape"].split("x") if row["shape"])
        kind = np.dtype(name).newbyteorder("<")
        if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(values):
            raise ValueError
        array: npt.NDArray[np.generic] = np.frombuffer(values, kind).reshape(shape)
    except (ValueError, AttributeError, TypeError) as error:
        raise StoreError(
            f"the feature of unit {row['unit_key']} is no array that rdbench keeps; "
            "delete the folder features and run again"
        ) from error
    return array.astype(name)
