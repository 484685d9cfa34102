"""Clips worth a look, as a table: what was noted of them when they were read (clipped, silent)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.report.names import clean, listed
from rdbench.report.tables.table import Cell, Table, TableColumn, words
from rdbench.report.text.status import CLIPS_NAMED, clips_noted

if TYPE_CHECKING:
    import pandas as pd


def notes_table(notes: pd.DataFrame) -> Table:
    """A row per kind of note: how many clips, the first of them, and what was said of one.

    notes: of `rdbench.store.reader.read_notes`. Without columns where nothing was noted.
    """
    found = clips_noted(notes)
    said = {
        clean(key.replace("_", " ")): clean(reason, longest=160)
        for key, reason in notes.drop_duplicates("key")[["key", "reason"]].itertuples(index=False)
    }
    head = [words("noted", [key for key, _ in found])]
    columns = [
        TableColumn("clips", [Cell(str(len(clips))) for _, clips in found]),
        words("for example", [listed(clips, CLIPS_NAMED) for _, clips in found]),
        words("what was said", [said[key] for key, _ in found]),
    ]
    return Table("notes", "Clips worth a look", "", head, columns if found else [])
