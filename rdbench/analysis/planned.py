"""What a run was asked for, against what it has: a run that was interrupted looks like no other.

The manifest's plan names every row that there shall be (`rdbench.store.status`). A manifest without
a plan, of an earlier rdbench or written by hand, asks for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from rdbench.store.status import planned_rows, statuses

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run
    from rdbench.store.status import Unit

GivenTo = tuple[str, str, str, str]
"""Who was given clips: system, point, variant, domain."""

_COLUMNS = ("system", "point", "variant", "domain", "clip", "kind", "key", "backend", "status")


def planned_clips(manifest: Mapping[str, Any]) -> dict[GivenTo, set[str]]:
    """The clips that the plan gives to each system, point and variant, by domain.

    Raises StoreError for a plan that is none.
    """
    found: dict[GivenTo, set[str]] = {}
    for system, point, variant, domain, clip, *_ in _planned(manifest):
        if clip:
            found.setdefault((system, point, variant, domain), set()).add(clip)
    return found


def missing_rows(run: Run) -> tuple[list[Unit], int]:
    """The planned rows that `run` lacks, and how many are planned.

    A failed row is there. Raises StoreError for a plan that is none.
    """
    asked = _planned(run.manifest)
    there = _names(run.rows) if asked else ()
    return [unit for unit in asked if unit not in there], len(asked)


def _planned(manifest: Mapping[str, Any]) -> list[Unit]:
    return list(planned_rows(manifest)) if "plan" in manifest else []


def _names(rows: pd.DataFrame) -> Collection[Unit]:
    return statuses({name: rows[name].astype(str).tolist() for name in _COLUMNS})
