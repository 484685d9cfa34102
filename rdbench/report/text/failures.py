"""Why measurements failed, in a few lines for the terminal; all reasons are in the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rdbench.report.names import clean

REASONS_SHOWN = 10
LONGEST = 300


def failures_text(folder: Path, failed: int) -> str:
    """How many measurements of the run in `folder` failed, and the most frequent reasons.

    Raises StoreError for a folder that is no run, or cannot be read.
    """
    from rdbench.store.reader import read_rows

    rows = read_rows(folder)
    found = rows.loc[rows["status"] == "failed", "reason"].value_counts()
    reasons = [(str(reason), int(count)) for reason, count in found.items()]
    return "\n".join(
        [f"rdbench: {failed} measurements failed in {folder}:", *reason_lines(reasons)]
    )


def reason_lines(reasons: Sequence[tuple[str, int]]) -> list[str]:
    """The most frequent of `reasons`, (reason, count) in falling order, a line each.

    Reasons hold what codecs and files said, so that signs which steer a terminal are taken out.
    """
    lines = [
        f"  {count:,} × {clean(reason, longest=LONGEST)}"
        for reason, count in reasons[:REASONS_SHOWN]
    ]
    if len(reasons) > REASONS_SHOWN:
        lines.append(f"  … and {len(reasons) - REASONS_SHOWN} more reasons")
    return lines
