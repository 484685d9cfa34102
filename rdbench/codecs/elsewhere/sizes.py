"""A table of bytes per clip: CSV with the columns `file` and `bytes`, and `point` where wanted."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rdbench.audio.clip import readable
from rdbench.codecs.elsewhere.places import place_of
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
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = [str(name).strip().lower() for name in reader.fieldnames or ()]
        rows = [dict(zip(columns, row.values(), strict=False)) for row in reader]
    except OSError as error:
        raise CodecError(f"the table {path} cannot be read ({error.strerror}); mend it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CodecError(f"the table {path} is no CSV in UTF-8 ({error}); save it so") from None
    if not {"file", "bytes"} <= set(columns):
        raise CodecError(
            f"the table {path} has the columns {', '.join(columns) or 'none'}; it needs file and "
            "bytes"
        )
    found: dict[str, int | str] = {}
    for row in rows:
        if str(row.get("point", point)).strip() == point:
            name = readable(str(row["file"]).strip())
            place = place_of(name)
            twice = f"the table {path} has the clip {name!r} twice"
            found[place] = twice if place in found else _bytes(row.get("bytes"), name, path)
    return found


def _bytes(cell: object, name: str, path: Path) -> int | str:
    text = str(cell).strip()
    if text.isdecimal() and len(text) < 16:
        return int(text)
    return f"the table {path} has {text[:40]!r} bytes for {name!r}, which is no whole number"
