"""Whether a results folder holds what it says, whole: `rdbench validate`.

Readers stop at the first file that cannot be used; here every file is looked at, so that one run
of the check names all that is wrong: the manifest and its schema, every part's hash, schema and
rows (in use and retired), what lies beside the measurements, and the rows that the plan asks for
and that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.store.attachments import FOLDERS, damaged_parts, lost_keys
from rdbench.store.audio import FOLDER as AUDIO
from rdbench.store.audio import check_audio, kept_files
from rdbench.store.features import check_features, feature_columns
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import (
    MEASUREMENTS,
    RETIRED,
    Part,
    bounded,
    columns_of,
    latest,
    list_parts,
    read_part,
    schema,
)
from rdbench.store.schema import BESIDE, Kind
from rdbench.store.status import planned_rows, statuses
from rdbench.store.traces import check_traces, trace_columns
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

_CHECKS = {
    Kind.TRACE: (trace_columns, check_traces),
    Kind.FEATURE: (feature_columns, check_features),
}
SHOWN = 5
"""How many missing rows are named."""


@dataclass(frozen=True)
class Findings:
    """What a check found.

    problems: one sentence each; none means that the folder is whole. notes: what is worth knowing
    and no problem. parts, rows: how many were looked at; beside: of the rows those that
    tell of traces, features, audio and notes.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    parts: int
    rows: int
    beside: int


def validate_run(folder: Path) -> Findings:
    """Checks the run in `folder`; raises StoreError where it is no run."""
    folder = Path(folder)
    if not (folder / MEASUREMENTS).is_dir():
        read_manifest(folder)  # says what a folder without either is
        raise StoreError(f"there are no measurements in {folder}; run it, or give another folder")
    problems: list[str] = []
    notes: list[str] = []
    manifest: dict[str, Any] = {}
    try:
        manifest = read_manifest(folder)
    except StoreError as error:
        problems.append(str(error))
    unsound: list[str] = []
    measured = folder / MEASUREMENTS
    tables = list(bounded(_tables(measured, unsound), measured))
    problems += unsound
    for _ in _tables(folder / RETIRED, problems):
        pass
    for kind in FOLDERS:
        problems += _attachments(folder, kind, sound=not unsound)
    found = _joined(tables)
    problems += _kept_audio(folder, found) if not unsound else ()
    if "plan" in manifest:
        problems += _incomplete(manifest, found)
    elif manifest:
        notes.append(
            "the manifest has no plan (an earlier rdbench made it), so that what may be missing "
            "cannot be told; run the spec again to be sure"
        )
    failed = sum(status == Status.FAILED for status in found["status"])
    if failed:
        notes.append(f"{failed} rows have failed, with their reasons; a run tries them again")
    notes += _of_unknown_origin(manifest, found)
    beside = sum(kind in BESIDE for kind in found["kind"])
    return Findings(tuple(problems), tuple(notes), len(tables), len(found["status"]), beside)


def _tables(folder: Path, problems: list[str]) -> Iterator[pa.Table]:
    """The tables of the sound parts of a folder, earliest first; the others become problems."""
    try:
        parts = list_parts(folder)
    except StoreError as error:
        problems.append(str(error))
        parts = list_parts(folder, strict=False)
    for part in parts:
        try:
            table = read_part(part)
        except FileNotFoundError:
            problems.append(f"{part.path} has just gone; wait until the run has ended")
        except StoreError as error:
            problems.append(str(error))
        else:
            problems += _wrong_rows(part, table)
            yield table


def _wrong_rows(part: Part, table: pa.Table) -> Iterator[str]:
    """What the rows of a part break of the promises of `Row`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ok = pc.equal(table["status"], Status.OK.value)
    finite = pc.fill_null(pc.is_finite(table["value"]), False)
    known: dict[str, list[str]] = {"status": list(Status), "kind": list(Kind)}
    checks = {
        "are ok without a finite value": pc.and_not(ok, finite),
        "have a value and are not ok": pc.and_not(finite, ok),
        "are not ok and give no reason": pc.and_not(pc.equal(table["reason"], ""), ok),
        "have no unit key": pc.equal(table["unit_key"], ""),
        "have no sound duration": pc.invert(
            pc.fill_null(pc.and_(pc.is_finite(table["seconds"]), _at_least_0(table)), False)
        ),
    }
    for column, values in known.items():
        valid = pc.is_in(table[column], pa.array([str(value) for value in values]))
        checks[f"have an unknown {column}"] = pc.invert(valid)
    for what, wrong in checks.items():
        if count := pc.sum(pc.fill_null(wrong, True)).as_py() or 0:
            yield f"{part.path}: {count} of {len(table)} rows {what}; delete it and run again"
    if pc.count_distinct(table["unit_key"]).as_py() < len(table):
        yield f"{part.path} holds some unit twice; delete it and run again"


def _at_least_0(table: pa.Table) -> Any:
    import pyarrow.compute as pc

    return pc.greater_equal(table["seconds"], 0.0)


def _attachments(folder: Path, kind: Kind, *, sound: bool) -> Iterator[str]:
    """What is wrong with traces or features; `sound` says whether the measurements can be read."""
    columns, check = _CHECKS[kind]
    problems = damaged_parts(folder, kind, columns(), check)
    yield from problems
    if problems or not sound:
        return
    if lost := len(lost_keys(folder, kind)):
        yield f"{lost} {FOLDERS[kind]} are missing in {folder / FOLDERS[kind]}; run again"


def _kept_audio(folder: Path, found: dict[str, list[Any]]) -> Iterator[str]:
    """Kept audio of which the rows tell and that is not there, or none that rdbench keeps."""
    rows = zip(found["unit_key"], found["kind"], strict=True)
    keys = {key for key, kind in rows if kind == Kind.AUDIO}
    kept = kept_files(folder) if keys else {}
    if gone := len(keys) - len(keys & kept.keys()):
        yield (
            f"{gone} of {len(keys)} files of kept audio are missing in {folder / AUDIO}; run again "
            "with --keep-audio, only they are made"
        )
    for key in sorted(keys & kept.keys()):
        try:
            check_audio(kept[key].path)
        except StoreError as error:
            yield str(error)


def _of_unknown_origin(manifest: dict[str, Any], found: dict[str, list[Any]]) -> Iterator[str]:
    known = manifest.get("provenance")
    names = set(known) if isinstance(known, dict) else set()
    count = sum(name not in names for name in found["provenance"])
    if count and names:
        yield f"of {count} rows the manifest does not say with which versions they were measured"


def _joined(tables: list[pa.Table]) -> dict[str, list[Any]]:
    import pyarrow as pa

    return columns_of(latest(pa.concat_tables([schema().empty_table(), *tables])))


def _incomplete(manifest: dict[str, Any], found: dict[str, list[Any]]) -> Iterator[str]:
    there = statuses(found)
    try:
        planned = list(planned_rows(manifest))
    except StoreError as error:
        yield str(error)
        return
    missing = [unit for unit in planned if unit not in there]
    if missing:
        named = "; ".join(map(str, missing[:SHOWN]))
        more = "; …" if len(missing) > SHOWN else ""
        yield (
            f"{len(missing)} of {len(planned)} planned rows are missing ({named}{more}); "
            "run the spec again, only they are measured"
        )
