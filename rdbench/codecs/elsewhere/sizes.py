"""A table of bytes per clip: CSV with the columns `file` and `bytes`, and `point` where wanted."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rdbench.audio.clip import readable
from rdbench.audio.places import place_of
from rdbench.files import read_file
from rdbench.types import CodecError

MOST_BYTES = 2**26
"""The largest table that is read: half a million clips."""


def read_sizes(path: Path, point: str) -> dict[str, int | str]:
    """Bytes by place (`place_of` the file) of the rows of `point`, or what is wrong with them.

    Raises CodecError for a file that is no such table.
    """
    try:
        text = read_file(path, MOST_BYTES).decode("utf-8-sig")
        table = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except OSError as error:
        raise CodecError(f"the table {path} cannot be read ({error.strerror}); mend it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CodecError(f"the table {path} is no CSV in UTF-8 ({error}); save it so") from None
    columns = [name.strip().lower() for name in table[0]] if table else []
    if twice := [name for name in ("file", "bytes", "point") if columns.count(name) > 1]:
        raise CodecError(f"the table {path} has the column {twice[0]!r} twice; take one out")
    if not {"file", "bytes"} <= set(columns):
        raise CodecError(
            f"the table {path} has the columns {', '.join(columns) or 'none'}; it needs file and "
            "bytes"
        )
    found: dict[str, int | str] = {}
    for cells in table[1:]:
        row = dict(zip(columns, cells, strict=False))
        if row.get("point", point).strip() == point:
            name = readable(row.get("file", "").strip())
            place = place_of(name)
            again = f"the table {path} has the clip {name!r} twice"
            found[place] = again if place in found else _bytes(row.get("bytes"), name, path)
    return found


def _bytes(cell: object, name: str, path: Path) -> int | str:
    text = str(cell).strip()
    if text.isdecimal() and len(text) < 16:
        return int(text)
    return f"the table {path} has {text[:40]!r} bytes for {name!r}, which is no whole number"
