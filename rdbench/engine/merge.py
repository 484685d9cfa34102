"""Runs that were made apart, as one run: by clips, by systems, by points, by metrics.

Rows are joined by the store (`rdbench.store.merge`), and nothing is measured. The values of sets of
clips alone are of other clips then, and made anew (`rdbench.engine.merged_sets`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.engine.merged_sets import write_sets
from rdbench.store.merge.answers import take_answers
from rdbench.store.merge.manifests import joined_manifest
from rdbench.store.merge.place import appearing
from rdbench.store.merge.rows import standing_rows
from rdbench.store.merge.sources import Source, read_sources
from rdbench.store.parts import MEASUREMENTS, RETIRED, columns_of, read_all
from rdbench.store.status import planned_rows, statuses
from rdbench.store.writer import RunWriter
from rdbench.types import Status

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Merged:
    """How runs were merged.

    rows: that stand; aside: that moved to `retired`. missing: rows of the joined plan that no run
    has. failed: rows without a measurement. notes: sentences on what a reader should know.
    """

    folder: Path
    rows: int
    aside: int
    missing: int
    failed: int
    notes: tuple[str, ...]


def merge_runs(runs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Merged:
    """Joins the runs in some folders into a new one, which is there whole or not at all.

    Raises StoreError where the runs cannot be joined, or `out` is not empty.
    """
    out = Path(out)
    with appearing(out) as folder:
        # Its lock says from the first moment on that somebody works here.
        with RunWriter(folder) as writer:
            sources = read_sources([Path(run) for run in runs])
            manifest = joined_manifest(sources)
            planned = list(planned_rows(manifest))  # raises where a plan is none
            standing = standing_rows(sources, manifest)
            notes = _of_devices(sources)
            if standing.costs_aside:
                notes.append(
                    f"{standing.costs_aside} costs of a point and machine that another run timed "
                    "too moved to retired/: those of the run named first stand (where both have "
                    "one key, a run that goes on in the merged folder takes the retired one away)"
                )
            # Of what lies beside a unit, the first run's counts, which is written last.
            for source, rows, aside in reversed(
                list(zip(sources, standing.rows, standing.aside, strict=True))
            ):
                retired = _concatenated(read_all(source.folder / RETIRED), aside)
                writer.copy_from(source.folder, _named(rows, source), _named(retired, source))
            notes += take_answers(sources, folder)
            if standing.grown:
                notes += write_sets(writer, manifest, standing.grown)
            writer.write_manifest(manifest)
        there = statuses(columns_of(read_all(folder / MEASUREMENTS)))
        missing = sum(unit not in there for unit in planned)
        table = read_all(folder / MEASUREMENTS, ("unit_key", "status"))
        failed = table["status"].to_pylist().count(str(Status.FAILED))
        moved = sum(map(len, standing.aside))
    return Merged(out, len(table), moved, missing, failed, tuple(notes))


def _of_devices(sources: Sequence[Source]) -> list[str]:
    def kind(source: Source) -> str:
        device = str((source.manifest.get("execution") or {}).get("device") or "")
        return device.partition(":")[0]

    kinds = {kind(source): source.name for source in sources}
    if len(kinds) < 2:
        return []
    said = ", ".join(f"{name} on {what or 'an unknown device'}" for what, name in kinds.items())
    return [
        f"the runs were measured on several kinds of devices ({said}), whose values differ in "
        "their last digits; a run in the merged folder measures again what is of the other kind"
    ]


def _concatenated(*tables: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables)


def _named(rows: pa.Table, source: Source) -> pa.Table:
    """The rows with the name under which the merged manifest says what they were measured with."""
    import pyarrow as pa

    names = {name: source.said(name) for name in set(rows["provenance"].to_pylist())}
    said = [names[name] for name in rows["provenance"].to_pylist()]
    place = rows.schema.get_field_index("provenance")
    return rows.set_column(place, "provenance", pa.array(said, pa.string()))
