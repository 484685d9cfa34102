"""Tables as CSV, for spreadsheets too: no cell computes, and numbers stay numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.text import cell

if TYPE_CHECKING:
    import pandas as pd


def spreadsheet(table: pd.DataFrame) -> str:
    """The table as CSV whose texts are cells (`rdbench.text.cell`)."""
    import pandas as pd

    shown = table.rename(columns=lambda name: cell(str(name)))
    for place in range(table.shape[1]):
        values = table.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(values):
            made = [cell(value) if isinstance(value, str) else value for value in values]
            shown.isetitem(place, made)
    return str(shown.to_csv(index=False, lineterminator="\n"))
