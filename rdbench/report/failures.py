"""Why measurements failed, in a few lines for the terminal; all reasons are in the rows."""

from __future__ import annotations

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
    reasons = rows.loc[rows["status"] == "failed", "reason"].value_counts()
    lines = [f"rdbench: {failed} measurements failed in {folder}:"]
    for reason, count in reasons.head(REASONS_SHOWN).items():
        lines.append(f"  {count} × {clean(str(reason), longest=LONGEST)}")
    if len(reasons) > REASONS_SHOWN:
        lines.append(f"  … and {len(reasons) - REASONS_SHOWN} more reasons")
    return "\n".join(lines)
