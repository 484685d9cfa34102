"""What a run was asked for, what it has, and when it may be done: `rdbench status`.

The manifest's plan says which rows there shall be, the parts which there are. The time left is what
is missing over the speed of the session that is running (or was the last): rows finished since it
began to measure, until the latest part was written. Failed rows are tried again by the next run, so
they count as missing for the time left.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rdbench.store.lock import Session, session_of
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import MEASUREMENTS, columns_of, list_parts, read_all
from rdbench.store.schema import BESIDE, Kind, Quantity
from rdbench.types import KL_PRIOR, RateKind, Status, StoreError

MISSING = "missing"
MAX_PLANNED = 4_000_000
"""Most rows that a plan may ask for: each takes a hundred bytes where it is looked for."""
COLUMNS = (
    "unit_key", "system", "point", "variant", "domain", "clip", "kind", "key", "backend", "status",
    "reason",
)  # fmt: skip


class Unit(NamedTuple):
    """Names a planned row; clip is "" for a quantity of a whole point."""

    system: str
    point: str
    variant: str
    domain: str
    clip: str
    quantity: Quantity

    def __str__(self) -> str:
        kind, key, model = self.quantity.kind, self.quantity.key, self.quantity.model
        return " ".join(filter(None, (*self[:5], f"{kind}/{key}", model)))


@dataclass(frozen=True)
class Counts:
    """How many rows are ok, undefined (which is an answer), failed, and not there."""

    ok: int = 0
    undefined: int = 0
    failed: int = 0
    missing: int = 0

    @property
    def done(self) -> int:
        """Rows that need not be measured again."""
        return self.ok + self.undefined

    @property
    def asked(self) -> int:
        """All of them."""
        return self.done + self.failed + self.missing


@dataclass(frozen=True)
class RunStatus:
    """The state of a run.

    counts, systems: of the planned rows, in all and by system; of the rows that are there where
    `planned` is False, as in folders of an rdbench that kept no plan. reasons: of failures, the
    most frequent first. undefined: likewise, why rows have no value, but for costs that do not
    apply, as the memory of a device to what runs on the CPU. process: who writes now, "" where
    nobody does. seconds_left: None where it cannot be told. finished: when the run ended, None
    where it has not.
    """

    folder: Path
    planned: bool
    counts: Counts
    systems: Mapping[str, Counts]
    reasons: tuple[tuple[str, int], ...]
    undefined: tuple[tuple[str, int], ...]
    process: str
    seconds_left: float | None
    started: str
    finished: str | None


def run_status(folder: Path) -> RunStatus:
    """The state of the run in `folder`, running or not.

    Raises StoreError where it is no run, or where its files cannot be read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    found = columns_of(read_all(folder / MEASUREMENTS, COLUMNS))
    tally = _tally(manifest, found)
    counts = _total(tally)
    session = session_of(folder)
    running = session is not None and session.running
    rows = zip(*(found[name] for name in ("reason", "status", "kind")), strict=True)
    fates = Counter(
        (status, kind == Kind.COST, reason) for reason, status, kind in rows if kind not in BESIDE
    )
    failures: Counter[str] = Counter()
    undefined: Counter[str] = Counter()
    for (status, cost, reason), count in fates.items():
        if status == Status.FAILED:
            failures[reason] += count
        elif status == Status.UNDEFINED and not cost:
            undefined[reason] += count
    answered = sum(status != Status.FAILED for status in found["status"])
    planned = "plan" in manifest
    return RunStatus(
        folder=folder,
        planned=planned,
        counts=counts,
        systems={name: _total(tally, name) for name in dict.fromkeys(name for name, _ in tally)},
        reasons=tuple(failures.most_common()),
        undefined=tuple(undefined.most_common()),
        process=f"process {session.pid} on {session.host}" if session and running else "",
        seconds_left=_seconds_left(folder, session, answered, counts) if planned else None,
        started=str(manifest.get("started", "")),
        finished=None if running else manifest.get("finished"),
    )


def planned_rows(manifest: Mapping[str, Any]) -> Iterator[Unit]:
    """Every row that the manifest's plan asks for.

    Raises StoreError for a plan that is none, or of more than `MAX_PLANNED` rows.
    """
    left = MAX_PLANNED
    try:
        clips: dict[str, list[str]] = {}
        for named in manifest["corpus"]["clips"]:
            clips.setdefault(named["domain"], []).append(_text(named["name"]))
        for entry in manifest["plan"]:
            names = ("system", "point", "variant", "domain")
            system, point, variant, domain = (_text(entry[name]) for name in names)
            each, whole = (
                [Quantity(Kind(kind), _text(key), _text(model)) for kind, key, model in entry[name]]
                for name in ("each", "whole")
            )
            left -= len(each) * len(clips.get(domain, ())) + len(whole)
            if left < 0:
                raise StoreError(
                    f"the plan in manifest.json asks for more than {MAX_PLANNED} rows; restore the "
                    "file from a copy"
                )
            for clip in clips.get(domain, ()) if each else ():
                for quantity in each:
                    yield Unit(system, point, variant, domain, clip, quantity)
            for quantity in whole:
                yield Unit(system, point, variant, domain, "", quantity)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(
            "the plan in manifest.json is damaged; restore the file from a copy, or run again"
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def statuses(found: Mapping[str, list[str]]) -> dict[Unit, str]:
    """The status of every row in a table's columns, under the units that it may be planned as.

    That is with its backend as the model, and without a model. KL to a fitted prior goes by its
    full name alone, since it never stands for the headline, and so do features.
    """
    by_unit: dict[Unit, str] = {}
    known: dict[tuple[str, str, str], list[Quantity]] = {}
    names = ("system", "point", "variant", "domain", "clip", "kind", "key", "backend", "status")
    rows = zip(*(found[name] for name in names), strict=True)
    for system, point, variant, domain, clip, kind, key, backend, status in rows:
        if (kind, key, backend) not in known:
            known[kind, key, backend] = _planned_as(kind, key, backend)
        for quantity in known[kind, key, backend]:
            by_unit[Unit(system, point, variant, domain, clip, quantity)] = status
    return by_unit


def _planned_as(kind: str, key: str, backend: str) -> list[Quantity]:
    if kind not in list(Kind):
        return []
    named = Quantity(Kind(kind), key, backend)
    fitted = (kind, key) == (Kind.RATE, RateKind.KL) and backend != KL_PRIOR
    return [named] if fitted or kind == Kind.FEATURE else [named, Quantity(Kind(kind), key)]


def _tally(manifest: Mapping[str, Any], found: Mapping[str, list[str]]) -> Counter[tuple[str, str]]:
    """Rows by system and status."""
    if "plan" in manifest:
        there = statuses(found)
        return Counter((unit.system, there.get(unit, MISSING)) for unit in planned_rows(manifest))
    rows = zip(found["system"], found["status"], found["kind"], strict=True)
    return Counter((system, status) for system, status, kind in rows if kind not in BESIDE)


def _total(tally: Counter[tuple[str, str]], system: str | None = None) -> Counts:
    total: Counter[str] = Counter()
    for (name, status), count in tally.items():
        if system in (None, name):
            total[status] += count
    return Counts(
        ok=total[Status.OK],
        undefined=total[Status.UNDEFINED],
        failed=total[Status.FAILED],
        missing=total[MISSING],
    )


def _seconds_left(
    folder: Path, session: Session | None, answered: int, counts: Counts
) -> float | None:
    """Seconds that what is missing takes at the speed of the last session."""
    missing = counts.missing + counts.failed
    if not missing:
        return 0.0
    if session is None or session.began is None:
        return None
    written = []
    for part in list_parts(folder / MEASUREMENTS):
        with contextlib.suppress(FileNotFoundError):  # merged away by the run
            written.append(part.path.stat().st_mtime)
    elapsed = max(written, default=0.0) - session.began
    measured = answered - session.done
    if elapsed <= 0 or measured <= 0:
        return None
    return missing * elapsed / measured
