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
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rdbench.store.atomic import changing, make_folder, write_new
from rdbench.types import StoreError

DATA, ASSETS = "data", "assets"
PAGE = "index.html"
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
    """Writes the files of one report; raises StoreError where the disk refuses.

    within: below which folder no link is followed (`rdbench.store.atomic.trusted`). mark: the name
    of the file that says which kind of report the folder is of. more: what such a report has beside
    page, data and assets, by the names in its folder.
    """

    def __init__(
        self, folder: Path, within: Path, *, mark: str = MARK, more: Collection[str] = ()
    ) -> None:
        self.folder = folder
        self._mark, self._more = mark, more
        self.written: list[Path] = []
        self._within = within

    def open(self) -> None:
        """Makes the folder, and removes what an earlier report left in it.

        Only in a folder that rdbench has marked; another folder that holds something is refused.
        """
        make_folder(self.folder, within=self._within)
        with changing(self.folder / self._mark, self._within) as folder:
            there = os.listdir(folder)  # noqa: PTH208 (of a descriptor)
            if there and self._mark not in there:
                raise StoreError(
                    f"{self.folder} holds files that are no report of rdbench; "
                    "choose another folder with --out"
                )
            for name in {self._mark, PAGE, DATA, ASSETS, *self._more}.intersection(there):
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    shutil.rmtree(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
        self.write(self._mark, b"made by rdbench; `rdbench report` rewrites it\n")
        self.written.clear()

    def data(self, name: str, value: Any, *, of: str = "") -> None:
        """`data/NAME.js`, which hands `value` to the page under `name`.

        of: a folder of the data of one page, where there are several.
        """
        text = f"rdbench.take({script_json(name)},{script_json(value)});\n"
        place = f"{DATA}/{of}/{name}.js" if of else f"{DATA}/{name}.js"
        self.write(place, text.encode("ascii"))

    def write(self, name: str, content: bytes) -> None:
        """Writes one file below the folder, of which there is none yet."""
        path = self.folder / name
        write_new(path, content, within=self._within)
        self.written.append(path)
