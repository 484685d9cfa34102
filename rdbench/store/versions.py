"""Readers of older schema versions: a step from each version to the next.

A part and a manifest carry the version they were written with. What is older than this rdbench is
brought up step by step while it is read, and the file stays as it is; what is newer is refused
(`too_new`). Whoever raises `SCHEMA_VERSION` adds a step to both tables below, and the tests ask for
a stored run of the version that is left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.store.schema import SCHEMA_VERSION
from rdbench.types import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MANIFESTS",
    "PARTS",
    "SCHEMA_VERSION",
    "too_new",
    "upgrade_manifest",
    "upgrade_table",
]

PARTS: dict[int, Callable[[pa.Table], pa.Table]] = {}
"""By version: what makes a table of the next version from a table of this one."""

MANIFESTS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""The same for manifests."""


def upgrade_table(table: pa.Table, version: int) -> pa.Table:
    """A part's table of `version` as one of this version; raises KeyError without a step."""
    for step in range(version, SCHEMA_VERSION):
        table = PARTS[step](table)
    return table


def upgrade_manifest(content: dict[str, Any], version: int) -> dict[str, Any]:
    """A manifest of `version` as one of this version; raises KeyError without a step."""
    for step in range(version, SCHEMA_VERSION):
        content = MANIFESTS[step](content)
    return content


def too_new(path: Path, version: int) -> StoreError:
    """The sentence for a file of a later schema."""
    return StoreError(
        f"{path} has schema version {version}, this rdbench reads up to {SCHEMA_VERSION}; "
        "update rdbench to read it"
    )
