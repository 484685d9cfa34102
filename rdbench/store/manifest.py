"""The manifest of a run: what was asked for, and with what it was measured.

A mapping of plain JSON values, made by the engine; the store adds `schema_version`, keeps the
first `started`, the `provenance` of rows that are there and what they were `merged` from, and sets
`updated`. Infinite and NaN numbers are written as text.

A manifest of somebody else's is held against limits (bytes, values, depth, text) and types before
anybody reads on: what is missing may be missing, and what is there is what it is said to be.
"""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from rdbench.files import read_file
from rdbench.store import versions
from rdbench.store.atomic import write_atomic
from rdbench.types import StoreError

MANIFEST_NAME = "manifest.json"
MAX_BYTES = 64 * 1024 * 1024
MAX_VALUES = 4_000_000
"""Most values of JSON in one: each takes up to a hundred bytes."""
MAX_DEPTH = 32
MAX_TEXT = 2**16
"""Characters of a text."""
_DIGITS = 18  # of a whole number
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")

_MAPPING, _MAPPINGS, _LIST = "a mapping", "a mapping of mappings", "a list of mappings"
_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("name", "description", "started", "updated", "finished"), "text"),
    **dict.fromkeys(("spec", "protocol", "execution", "corpus", "versions", "hardware"), _MAPPING),
    **dict.fromkeys(("systems", "metrics", "variants", "provenance", "merged"), _MAPPINGS),
    "plan": _LIST,
}
_STAYS = ("provenance", "merged")
_CLIP = ("name", "domain", "group", "content")


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the manifest whole or not at all, and returns it as written.

    `updated` becomes now (ISO 8601, UTC). `started` stays what the folder's manifest says, since a
    run that is resumed began when it first began; without one it is as given, or now. What the
    folder's manifest says under `provenance` and `merged` stays, since rows name it.

    Raises StoreError where it cannot be written, or where the one that is there cannot be read.
    """
    folder = Path(folder)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    there = read_manifest(folder) if (folder / MANIFEST_NAME).exists() else {}
    content = dict(plain(manifest))
    for key in _STAYS:
        if isinstance(known := there.get(key), Mapping):
            content[key] = dict(known) | dict(content.get(key, {}))
    content |= {
        "schema_version": versions.SCHEMA_VERSION,
        "started": there.get("started") or manifest.get("started") or now,
        "updated": now,
    }
    text = json.dumps(content, indent=2, allow_nan=False)
    write_atomic(folder / MANIFEST_NAME, text.encode() + b"\n", within=folder)
    return content


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the run in `folder`.

    Raises StoreError where there is none, where it is damaged, or of a later schema.
    """
    content = stored_manifest(folder)
    version = int(content["schema_version"])
    return versions.upgrade_manifest(content, version)


def stored_manifest(folder: Path) -> dict[str, Any]:
    """The same as its version wrote it."""
    path = Path(folder) / MANIFEST_NAME
    try:
        raw = read_file(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"there is no {MANIFEST_NAME} in {folder}; give a folder that `rdbench run` has made"
        ) from None
    except OSError as error:
        raise StoreError(
            f"cannot read {path} ({error.strerror}); check the file's permissions"
        ) from error
    content, fault = parsed(raw)
    version: Any = content.get("schema_version")
    if not fault and (type(version) is not int or version < 1):
        fault = "it has no version"
    if fault:
        raise StoreError(
            f"{path} is damaged ({fault}); restore it from a copy, or delete it and run again: the "
            "measurements stay"
        )
    if version > versions.SCHEMA_VERSION:
        raise versions.too_new(path, version)
    return content


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


def parsed(raw: bytes) -> tuple[dict[str, Any], str]:
    """What JSON says that has the keys of a manifest, and what is wrong with it, else ""."""
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
        return {}, f"it holds more than {MAX_VALUES} values"
    try:
        content = json.loads(raw, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
        if _HALF.search(raw):
            content = _encodable(content)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return {}, "it is not the JSON that rdbench writes"
    return content, _out_of_bounds(content) or _of_other_types(content)


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _DIGITS else _finite(text)


def _finite(text: str) -> float:
    """Numbers without end are written as text here; raises ValueError for them."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def _encodable(value: Any) -> Any:
    """The value with halves of surrogate pairs as rows have them: no file can hold such text."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return value


def _out_of_bounds(content: dict[str, Any]) -> str:
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and len(item) > MAX_TEXT:
                return f"a text in it has more than {MAX_TEXT} characters"
        if not below:
            return ""
        level = below
    return f"it is nested more than {MAX_DEPTH} deep"


def _of_other_types(content: dict[str, Any]) -> str:
    """What in it is not what readers take it for."""
    for key, what in _TYPES.items():
        value = content.get(key)
        if value is not None and not _is(what, value):
            return f"its {key} is not {what}"
    corpus = content.get("corpus") or {}
    clips = corpus.get("clips", [])
    if not _is(_LIST, clips) or not all(
        isinstance(clip.get(key, ""), str) for clip in clips for key in _CLIP
    ):
        return "its clips are not a list of names, domains, groups and contents"
    return ""


def _is(what: str, value: Any) -> bool:
    if what == "text":
        return isinstance(value, str)
    if what == _LIST:
        return isinstance(value, list) and all(isinstance(item, dict) for item in value)
    items = value.values() if isinstance(value, dict) and what == _MAPPINGS else ()
    return isinstance(value, dict) and all(isinstance(item, dict) for item in items)
