"""The state of a run in words: for the terminal, and for the pages of a run that is not whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.report.text.failures import reason_lines

if TYPE_CHECKING:
    from rdbench.analysis.runs import Run
    from rdbench.store.status import Counts, RunStatus


def status_text(status: RunStatus) -> str:
    """How far a run is, what failed and why, and the time left, for the terminal."""
    if status.process:
        state = f"running ({status.process})"
    elif status.finished:
        state = f"finished {status.finished}"
    else:
        state = "not running; `rdbench run` goes on where it stopped"
    lines = [f"{status.folder}: {state}, began {status.started}", _summary(status)]
    width = max((len(name) for name in status.systems), default=0)
    for name, counts in status.systems.items():
        lines.append(f"  {name:{width}}  {_share(counts, planned=status.planned)}")
    if status.counts.failed:
        lines += [f"failed: {status.counts.failed:,}", *reason_lines(status.reasons)]
    if status.seconds_left and (status.process or status.counts.missing):
        left = clock(status.seconds_left)
        lines.append(f"left: {left}" if status.process else f"left: {left} at its last speed")
    return "\n".join(lines)


def unfinished_text(run: Run) -> str:
    """A sentence for a run without all the rows that it was asked for, "" for any other.

    run: as it was read; rows that a report hides would count as missing. Raises StoreError for a
    manifest whose plan is none.
    """
    from rdbench.analysis.runs import missing_rows

    missing, asked = missing_rows(run)
    if not missing:
        return ""
    return (
        f"This run is not finished: {len(missing):,} of the {asked:,} rows that it was asked for "
        "are missing; run it again, and it goes on where it stopped."
    )


def _summary(status: RunStatus) -> str:
    counts = status.counts
    undefined = f" ({counts.undefined:,} of them undefined)" if counts.undefined else ""
    if not status.planned:
        return f"done: {counts.done:,} rows{undefined}; its manifest does not say of how many"
    share = 100 * counts.done / counts.asked if counts.asked else 100.0
    # Never 100 % while something is missing.
    shown = f"{share:.1f}" if counts.done == counts.asked else f"{min(share, 99.9):.1f}"
    return f"done: {counts.done:,} of {counts.asked:,} rows, {shown} %{undefined}"


def _share(counts: Counts, *, planned: bool) -> str:
    asked = f" of {counts.asked:,}" if planned else ""
    failed = f", {counts.failed:,} failed" if counts.failed else ""
    return f"{counts.done:,}{asked}{failed}"


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
