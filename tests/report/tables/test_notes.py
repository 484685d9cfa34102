"""Clips worth a look: counted by what was noted of them, in pages and on the terminal."""

from __future__ import annotations

from pathlib import Path

import make_run
import pandas as pd
import pytest

from rdbench.analysis.aggregate import points
from rdbench.report.config import ReportConfig
from rdbench.report.html.content import read_content
from rdbench.report.html.tables import sections
from rdbench.report.tables.markdown import table_page
from rdbench.report.tables.notes import notes_table
from rdbench.report.tables.run_tables import run_tables

COLUMNS = ["clip", "domain", "key", "reason"]
NOTES = pd.DataFrame(
    [
        ("silent.wav", "speech", "silent", "it is silent: −inf dBFS"),
        *((f"loud{i}.wav", "speech", "clipped", f"{i + 2} at full scale") for i in range(5)),
    ],
    columns=COLUMNS,
)  # fmt: skip


def test_notes_are_counted_by_kind_and_the_first_clips_are_named() -> None:
    table = notes_table(NOTES)
    rows = [[column.cells[i].text for column in (*table.head, *table.columns)] for i in range(2)]
    assert rows == [
        ["clipped", "5", "loud0.wav, loud1.wav, loud2.wav and 2 more", "2 at full scale"],
        ["silent", "1", "silent.wav", "it is silent: −inf dBFS"],
    ]


def test_the_page_has_a_section_only_where_something_was_noted() -> None:
    frame = make_run.make_frame()
    some = points(frame[frame["system"] == "opus"])
    manifest = make_run.make_manifest()
    assert "## Clips worth a look" in table_page(run_tables(some, manifest, notes=NOTES))
    for none in (None, NOTES.iloc[:0]):
        assert "worth a look" not in table_page(run_tables(some, manifest, notes=none))


def test_the_html_report_has_the_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "identity"]) & (frame["domain"] != "music")]
    make_run.write_run(tmp_path, frame)
    monkeypatch.setattr("rdbench.report.html.tables.read_notes", lambda folder: NOTES)
    content = read_content(tmp_path, config=ReportConfig())
    found = sections(content, config=ReportConfig())
    assert [section.name for section in found][-1] == "Clips worth a look"
