"""`log.csv`: what a run measured of itself, a row for each step and quantity.

    step,name,value
    50,loss/mel,0.8123

A quantity is named by its group and itself: `loss/…` (weighted terms, running averages over some
50 steps), `rate/…`, `gradient/…` (norms), `drift/…`, `time/…`. Rows are appended as they come. A
run that goes on from a state cuts what was logged after it, so that no step stands there twice.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.models.checkpoint import write_atomically
from rdbench.types import StoreError

if TYPE_CHECKING:
    import pandas as pd

LOG = "log.csv"
COLUMNS = ("step", "name", "value")
_TYPES: Any = {"step": "int64", "name": "str", "value": "float64"}


class Log:
    """The log in `folder`; its methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def go_on(self, step: int) -> None:
        """Cuts rows of steps after `step`, and a row that was not written whole."""
        if not self.path.is_file():
            return
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines(keepends=True)
        kept = [line for line in lines[1:] if line.endswith("\n") and _step(line) <= step]
        whole = "".join([",".join(COLUMNS) + "\n", *kept])
        write_atomically(self.path, whole.encode())

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a row for each of `values`, all in one writing."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        if not self.path.is_file():
            rows.writerow(COLUMNS)
        rows.writerows((step, name, f"{value:.9g}") for name, value in values.items())
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())


def _step(line: str) -> float:
    try:
        return int(line.partition(",")[0])
    except ValueError:
        return math.inf


def read_log(path: Path) -> pd.DataFrame:
    """The log at `path` with `COLUMNS`; raises StoreError where it is none."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=_TYPES)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no log of a training ({error}); remove it") from None
    if tuple(table.columns) != COLUMNS:
        raise StoreError(f"{path} is no log of a training: its columns are others; remove it")
    return table
