"""Rows for the tests of the store."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pyarrow as pa

from rdbench.store.parts import schema, whole
from rdbench.store.schema import Kind, Row
from rdbench.types import Status

_ROW = Row(
    unit_key="",
    system="opus",
    curve="Opus",
    point="12",
    variant="codes",
    clip="speech/a.wav",
    domain="speech",
    group="a",
    seconds=3.0,
    kind=Kind.METRIC,
    key="pesq_wb",
    value=3.5,
    unit="MOS-LQO",
    backend="reference",
    status=Status.OK,
    reason="",
)


def row(number: int | str, value: float = 3.5, /, **changes: Any) -> Row:
    """A row whose unit key is made of `number`."""
    return replace(_ROW, unit_key=f"unit-{number}", value=value, **changes)


def failed(number: int | str, reason: str = "it broke", /, **changes: Any) -> Row:
    return row(number, math.nan, status=Status.FAILED, reason=reason, **changes)


def rows_table(rows: list[Row]) -> pa.Table:
    """The table of some rows, as a part holds it."""
    return whole(pa.Table.from_pylist([one.as_dict() for one in rows], schema()))
