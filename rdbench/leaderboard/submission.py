"""A submission's folder: the manifest of a run, its rows, and a form; no audio and no features.

    submission.yaml             who, what, licences (`rdbench.leaderboard.form`)
    manifest.json               the run's, its plan without what lies beside measurements
    measurements/part-….parquet the rows: rates and scores per clip, costs, notes
    reproduction.json           what the leaderboard's keepers found (`rdbench.leaderboard.record`)

Equal runs make equal files. Values of sets of clips come along without what they were made of, so
that they have no intervals and are not ranked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.files import is_file, is_folder, read_file
from rdbench.leaderboard.form import FORM, Form, filled, read_form
from rdbench.store.atomic import is_temporary, make_folder, remove, write_atomic
from rdbench.store.manifest import MANIFEST_NAME, MAX_BYTES, as_json, read_manifest
from rdbench.store.parts import (
    MEASUREMENTS,
    columns_of,
    list_parts,
    ordered,
    read_all,
    whole,
    write_part,
)
from rdbench.store.schema import Kind
from rdbench.types import StoreError

RECORD = "reproduction.json"
NAMES = frozenset({FORM, MANIFEST_NAME, MEASUREMENTS, RECORD})
"""All that a submission may hold."""
LEFT_OUT = (Kind.AUDIO, Kind.TRACE, Kind.FEATURE)
MOST_FORM = 2**20


@dataclass(frozen=True)
class Submission:
    """A submission as it lies in its folder. digest: of what was measured (`digest`)."""

    folder: Path
    form: Form
    manifest: Mapping[str, Any]
    digest: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.form.name


def read_submission(folder: Path) -> Submission:
    """The submission in `folder`.

    Raises SpecError for its form, and StoreError for a folder that is none or cannot be read.
    """
    folder = Path(folder)
    if not is_file(folder / FORM):
        raise StoreError(
            f"{folder} is no submission, it has no {FORM}; write one with `rdbench submit RUN`"
        )
    return Submission(folder, read_form(folder / FORM), read_manifest(folder), digest(folder))


def write_submission(run: Path, folder: Path) -> Path:
    """Writes the submission of the run in `run` into `folder`, and returns the path of its form.

    A form that lies there, or beside the run, is taken as it is. Raises StoreError for a folder
    that is no run or of something else (the run itself, another run), and where it cannot be
    written.
    """
    run, folder = Path(run), Path(folder)
    manifest = read_manifest(run)
    rows = _rows(run)
    _check_free(run, folder)
    # The form comes first: it says that what lies here is a submission, and may be written again.
    make_folder(folder)
    form = folder / FORM
    if not is_file(form):
        write_atomic(form, _form(run, manifest), within=folder)
    make_folder(folder / MEASUREMENTS, within=folder)
    for part in list_parts(folder / MEASUREMENTS):
        remove(part.path, within=folder)
    write_part(folder / MEASUREMENTS, 1, rows)
    content = as_json({**manifest, "plan": _plan(manifest)}) + "\n"
    write_atomic(folder / MANIFEST_NAME, content.encode(), within=folder)
    return form


def digest(folder: Path) -> str:
    """SHA-256 (hex) of a submission's manifest, as it lies there, and its rows; raises StoreError.

    An edit of either makes another; the form may be corrected, and rows may be written by another
    version of Parquet.
    """
    made = hashlib.sha256()
    try:
        made.update(read_file(folder / MANIFEST_NAME, MAX_BYTES))
    except OSError as error:
        raise StoreError(
            f"cannot read {folder / MANIFEST_NAME} ({error.strerror}); submit the run again"
        ) from error
    columns = columns_of(ordered(read_all(folder / MEASUREMENTS)))
    for row in zip(*columns.values(), strict=True):
        made.update(repr(row).encode())
    return made.hexdigest()


def _check_free(run: Path, folder: Path) -> None:
    """Raises StoreError where something else than a submission would be written over."""
    if run.resolve() == folder.resolve():
        raise StoreError(f"{folder} is the run itself; give the submission a folder of its own")
    if not is_folder(folder):
        return
    names = {path.name for path in folder.iterdir() if not is_temporary(path.name)}
    if strange := sorted(names - NAMES):
        raise StoreError(
            f"{folder} holds a run, or something else that is no submission ({strange[0]}); "
            "choose another folder"
        )
    if names and not is_file(folder / FORM):
        raise StoreError(f"{folder} holds files that are no submission; choose another folder")


def _rows(run: Path) -> Any:
    """The table of a submission's part."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_all(run / MEASUREMENTS)
    left = pc.is_in(table["kind"], pa.array([kind.value for kind in LEFT_OUT]))
    table = table.filter(pc.invert(left))
    if not len(table):
        raise StoreError(f"there are no measurements in {run}; give a folder that was run")
    return whole(table)


def _plan(manifest: Mapping[str, Any]) -> Any:
    """The manifest's plan without what a submission leaves out."""
    kinds = {kind.value for kind in LEFT_OUT}
    plan = manifest.get("plan")
    return plan and [
        {
            **entry,
            **{
                part: [one for one in entry.get(part, ()) if one[0] not in kinds]
                for part in ("each", "whole")
            },
        }
        for entry in plan
    ]


def _form(run: Path, manifest: Mapping[str, Any]) -> bytes:
    beside = run / FORM
    if is_file(beside):
        try:
            return read_file(beside, MOST_FORM)
        except OSError as error:
            why = error.strerror or error
            raise StoreError(
                f"cannot take the form {beside} ({why}); mend it, or take it away"
            ) from error
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in _name(run))
    return filled(kept.lstrip("_.-")[:80] or "submission", manifest).encode()


def _name(run: Path) -> str:
    return run.resolve().name


def read_record_json(folder: Path) -> dict[str, Any] | None:
    """What RECORD in a submission says, None where there is none or it is no such file."""
    try:
        content = json.loads(read_file(folder / RECORD, MOST_FORM))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
