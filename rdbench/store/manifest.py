"""The manifest of a run: what was asked for, and with what it was measured.

A mapping of plain JSON values, made by the engine; the store adds `schema_version`, keeps the
first `started` and the `provenance` of rows that are there, and sets `updated`. Infinite and NaN
numbers are written as text.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from rdbench.store import versions
from rdbench.store.atomic import write_atomic
from rdbench.types import StoreError

MANIFEST_NAME = "manifest.json"
MAX_BYTES = 64 * 1024 * 1024


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the manifest whole or not at all, and returns it as written.

    `updated` becomes now (ISO 8601, UTC). `started` stays what the folder's manifest says, since a
    run that is resumed began when it first began; without one it is as given, or now. What the
    folder's manifest says under `provenance` stays, since rows name it.

    Raises StoreError where it cannot be written, or where the one that is there cannot be read.
    """
    folder = Path(folder)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    there = read_manifest(folder) if (folder / MANIFEST_NAME).exists() else {}
    content = dict(plain(manifest))
    known = there.get("provenance")
    if isinstance(known, Mapping):
        content["provenance"] = dict(known) | dict(content.get("provenance", {}))
    content |= {
        "schema_version": versions.SCHEMA_VERSION,
        "started": there.get("started") or manifest.get("started") or now,
        "updated": now,
    }
    text = json.dumps(content, indent=2, allow_nan=False)
    write_atomic(folder / MANIFEST_NAME, text.encode() + b"\n")
    return content


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the run in `folder`.

    Raises StoreError where there is none, where it is damaged, or of a later schema.
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"there is no {MANIFEST_NAME} in {folder}; give a folder that `rdbench run` has made"
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot read {path} ({error.strerror}); check the file's permissions"
        ) from error
    content = _parsed(raw)
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(
            f"{path} is damaged (it is not the JSON that rdbench writes); restore it from a copy, "
            "or delete it and run again: the measurements stay"
        )
    if version > versions.SCHEMA_VERSION:
        raise versions.too_new(path, version)
    return versions.upgrade_manifest(content, version)


def as_json(value: Any) -> str:
    """JSON of anything that `plain` takes."""
    return json.dumps(plain(value), indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: infinite and NaN numbers become text ("inf", "-inf", "nan")."""
    result: Any = value
    if isinstance(value, Enum):
        result = plain(value.value)
    elif value is None or isinstance(value, bool | str):
        result = value
    elif isinstance(value, numbers.Integral):
        result = int(value)
    elif isinstance(value, numbers.Real):
        result = float(value) if math.isfinite(value) else str(float(value))
    elif is_dataclass(value) and not isinstance(value, type):
        result = {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    elif isinstance(value, Mapping):
        result = {str(key): plain(item) for key, item in value.items()}
    elif isinstance(value, set | frozenset):
        result = sorted((plain(item) for item in value), key=str)
    elif isinstance(value, list | tuple):
        result = [plain(item) for item in value]
    elif isinstance(value, PurePath):
        result = value.as_posix()
    return result


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        content = json.loads(raw) if len(raw) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else {}
