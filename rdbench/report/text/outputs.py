"""Writes a text or tables to a file that a user named, whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.store.atomic import make_folder, write_atomic

if TYPE_CHECKING:
    import pandas as pd


def write_text(path: Path, text: str) -> str:
    """Writes a file whole or not at all; raises StoreError.

    Returns a sentence where its folder had to be made, which may be a slip of the keyboard.
    """
    parent = path.parent
    said = "" if parent.is_dir() else f"made the folder {parent}, which was not there"
    make_folder(parent)
    write_atomic(path, text.encode("utf-8", errors="replace"))
    return said


def json_text(content: Mapping[str, Any]) -> str:
    """JSON of plain values and of tables, which become lists of objects; a NaN is null."""
    plain = {
        name: value if isinstance(value, str | int) else _objects(value)
        for name, value in content.items()
    }
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _objects(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
