"""Tables of answers as people hand them in: CSV of a size that a listening test has."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from rdbench.files import read_file
from rdbench.types import RdbenchError

MAX_BYTES = 2**26
MAX_CELLS = 4_000_000

Lines = list[tuple[int, Mapping[str, str]]]
"""Rows with their line numbers."""


def read_table(path: Path, *, strip: bool = True) -> tuple[list[str], Lines]:
    """Columns and rows, whose cells are stripped of blanks unless rdbench wrote them.

    Raises RdbenchError for what is no CSV, or more than any test gives.
    """
    try:
        text = read_file(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RdbenchError(f"cannot read {path} ({reason}); check the path") from error
    if text.count(",") > MAX_CELLS:
        raise RdbenchError(f"{path} has more than {MAX_CELLS} cells; it is no table of answers")
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    try:
        rows: Lines = [
            (
                reader.line_num,
                {str(name): _cell(cell, strip=strip) for name, cell in row.items() if name},
            )
            for row in reader
        ]
        return list(reader.fieldnames or ()), rows
    except csv.Error as error:
        raise RdbenchError(
            f"line {reader.line_num} of {path.name} is not valid CSV ({error}); mend that line"
        ) from error


def _cell(cell: object, *, strip: bool) -> str:
    text = cell if isinstance(cell, str) else ""
    return text.strip() if strip else text
