"""The state of a run in words: how far it is, what failed and why, which clips are worth a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.report.names import clean, listed

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run
    from rdbench.store.status import Counts, RunStatus
REASONS_SHOWN = 10
LONGEST = 300
CLIPS_NAMED = 3
PARTS_NAMED = 6


def status_text(status: RunStatus, notes: pd.DataFrame) -> str:
    """How far a run is, what failed and why, the time left, and which clips are worth a look.

    notes: of `rdbench.store.reader.read_notes`.
    """
    if status.process:
        state = f"running ({clean(status.process, longest=LONGEST)})"
    elif status.finished:
        state = f"finished {clean(status.finished)}"
    else:
        state = "not running; `rdbench run` goes on where it stopped"
    lines = [f"{status.folder}: {state}, began {clean(status.started)}", _summary(status)]
    systems = {clean(name): counts for name, counts in status.systems.items()}
    width = max(map(len, systems), default=0)
    for name, counts in systems.items():
        lines.append(f"  {name:{width}}  {_share(counts, planned=status.planned)}")
    if status.counts.failed:
        lines += [f"failed: {status.counts.failed:,}", *reason_lines(status.reasons)]
    if status.undefined:
        lines += [f"undefined: {_sum(status.undefined):,}", *reason_lines(status.undefined)]
    if status.seconds_left and (status.process or status.counts.missing):
        left = clock(status.seconds_left)
        lines.append(f"left: {left}" if status.process else f"left: {left} at its last speed")
    noted = clips_noted(notes)
    if noted:
        lines.append("clips worth a look:")
        lines += [f"  {key}: {len(clips)} ({listed(clips, CLIPS_NAMED)})" for key, clips in noted]
    return "\n".join(lines)


def read_notes(folder: Path) -> pd.DataFrame:
    """What was noted of a run's clips: the columns clip, domain, key and reason."""
    import pandas as pd

    from rdbench.store import reader

    # A store that keeps no notes has none to read.
    read = getattr(reader, "read_notes", None)
    found: pd.DataFrame = (
        read(folder) if read else pd.DataFrame(columns=["clip", "domain", "key", "reason"])
    )
    return found


def clips_noted(notes: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """By what was noted (clipped, silent, …) the clips that it was noted of, the most first."""
    found: dict[str, dict[str, None]] = {}
    for key, clip in notes[["key", "clip"]].itertuples(index=False, name=None):
        found.setdefault(clean(key.replace("_", " ")), {})[clean(clip, longest=60)] = None
    return sorted(((key, list(clips)) for key, clips in found.items()), key=lambda n: -len(n[1]))


def caveats(run: Run) -> tuple[str, ...]:
    """Sentences on what a reader of all of a run should know; `run` as it was read."""
    return tuple(filter(None, (unfinished_text(run), provenance_text(run))))


def provenance_text(run: Run) -> str:
    """A sentence for a run whose rows were measured with several versions or on several machines,
    or do not say so; "" for any other.
    """
    if "provenance" not in run.rows:
        return ""
    counts: dict[str, int] = {}
    told: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for name, count in run.rows["provenance"].value_counts(sort=False).items():
        said = _told(run.manifest, str(name))
        # Rows of merged runs name the run, too, which is no other machine.
        alike = (known for known, one in told.items() if said[0] and one == said)
        first = next(alike, str(name))
        told[first] = said
        counts[first] = counts.get(first, 0) + int(count)
    if len(counts) < 2:
        return ""
    known = [versions for versions, _ in told.values() if versions]
    packages = [
        part
        for part in sorted({part for one in known for part in one})
        if len(known) < len(told) or len({one.get(part) for one in known}) > 1
    ]
    # A machine that is not recorded is no other machine.
    machines = {name: machine for name, (_, machine) in told.items()}
    parts = sorted({part for one in machines.values() for part in one})
    differing = [
        part for part in parts if len({one[part] for one in machines.values() if part in one}) > 1
    ]
    if not packages and len(known) == len(told) and not differing:
        silent = sum(count for name, count in counts.items() if "processor" not in machines[name])
        if not silent or "processor" not in parts:
            return ""
        return f"Of {silent:,} of the {sum(counts.values()):,} rows the processor is not recorded."
    how = "on the same machine" if known and not packages else "with the same versions"
    each = [
        f"{count:,} with {_named(*told[name], packages, differing)}"
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    return f"The rows were not all measured {how}: {'; '.join(each)}."


def _told(manifest: Mapping[str, Any], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """What a manifest says of a provenance: versions by package, and the machine's parts."""
    known = manifest.get("provenance")
    one = known.get(name) if isinstance(known, Mapping) else None
    if not isinstance(one, Mapping):
        return {}, {}
    versions = one.get("versions")
    machine = {k: value for k, value in one.items() if k not in ("versions", "run") and value}
    if one.get("accelerator") == "":
        machine["accelerator"] = "none"
    return _plain(versions if isinstance(versions, Mapping) else {}), _plain(machine)


def _plain(parts: Mapping[Any, Any]) -> dict[str, str]:
    return {clean(str(key)): clean(str(value), longest=60) for key, value in parts.items()}


def _named(
    versions: Mapping[str, str],
    machine: Mapping[str, str],
    packages: Sequence[str],
    differing: Sequence[str],
) -> str:
    named = [f"{part} {versions[part]}" for part in packages if part in versions]
    more = [f"{len(named) - PARTS_NAMED} others"] if len(named) > PARTS_NAMED else []
    on = [f"{part} {machine.get(part, 'not recorded')}" for part in differing]
    unknown = [] if versions else ["versions that are not known"]
    return ", ".join([*unknown, *named[:PARTS_NAMED], *more, *on]) or "none of these packages"


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
    if not status.planned:
        return f"done: {counts.done:,} rows; its manifest does not say of how many"
    share = 100 * counts.done / counts.asked if counts.asked else 100.0
    # Never 100 % while something is missing.
    shown = f"{share:.1f}" if counts.done == counts.asked else f"{min(share, 99.9):.1f}"
    return f"done: {counts.done:,} of {counts.asked:,} planned rows, {shown} %"


def _sum(reasons: Sequence[tuple[str, int]]) -> int:
    return sum(count for _, count in reasons)


def _share(counts: Counts, *, planned: bool) -> str:
    asked = f" of {counts.asked:,}" if planned else ""
    failed = f", {counts.failed:,} failed" if counts.failed else ""
    return f"{counts.done:,}{asked}{failed}"


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


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
