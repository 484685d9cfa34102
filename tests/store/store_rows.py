"""Rows for the tests of the store."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

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


def row(key: int | str, value: float = 3.5, **changes: Any) -> Row:
    """A row whose unit key is made of `key`."""
    return replace(_ROW, unit_key=f"unit-{key}", value=value, **changes)


def failed(key: int | str, reason: str = "it broke") -> Row:
    return row(key, math.nan, status=Status.FAILED, reason=reason)
