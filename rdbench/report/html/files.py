"""The files of a report: text that carries data as a script, and audio as text.

Chromium lets a page from `file://` run scripts beside it, and lets it read nothing else: no fetch,
no XMLHttpRequest, no samples of an <audio> element. So each file of data is a script of one call,
`rdbench.take(name, value)`, that the page adds when it needs the value, and audio is FLAC in
base64, which the page decodes into buffers. Buffers that start on one clock stay in step to the
sample through loops and seeks, and a switch between them is a fade whose every sample is known (a
test renders it). Six <audio> elements that were started together told positions within 0.04 ms of
each other, but each keeps a clock of its own, restarts by itself, and hides its samples, from which
the spectrograms are drawn. That is worth a third more bytes.

File names are numbers. JSON is written in ASCII with `<`, `>` and `&` escaped: it may stand in any
page or script and end neither.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rdbench.store.atomic import cannot_write
from rdbench.types import StoreError

DATA, ASSETS = "data", "assets"
MARK = ".rdbench-report"
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def script_json(value: Any) -> str:
    r"""JSON that may stand in a script: ASCII, without `<`, `>` and `&`.

    >>> script_json({"name": "</script><b>"})
    '{"name":"\\u003c/script\\u003e\\u003cb\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.translate(_ESCAPES)


class ReportFolder:
    """Writes the files of one report; raises StoreError where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def open(self) -> None:
        """Makes the folder, and removes what an earlier report left in it.

        Only in a folder that rdbench has marked; another folder that holds something is refused.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            marked = (self.folder / MARK).exists()
            if not marked and any(self.folder.iterdir()):
                raise StoreError(
                    f"{self.folder} holds files that are no report of rdbench; "
                    "choose another folder with --out"
                )
            (self.folder / MARK).write_text("made by rdbench; `rdbench report` rewrites it\n")
            (self.folder / "index.html").unlink(missing_ok=True)
            for name in (DATA, ASSETS):
                if (self.folder / name).exists():
                    shutil.rmtree(self.folder / name)
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def data(self, name: str, value: Any) -> None:
        """`data/NAME.js`, which hands `value` to the page under `name`."""
        text = f"rdbench.take({script_json(name)},{script_json(value)});\n"
        self.write(f"{DATA}/{name}.js", text.encode("ascii"))

    def write(self, name: str, content: bytes) -> None:
        """Writes one file below the folder."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise cannot_write(path, error) from error
        self.written.append(path)
