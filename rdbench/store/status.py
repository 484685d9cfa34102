"""What a run was asked for, what it has, and when it may be done: `rdbench status`.

The manifest's plan (`rdbench.engine.expected`) says which rows there shall be, the parts which
there are. The time left is what is missing over the speed of the session that is running (or was
the last): rows finished since it began to measure, until the latest part was written. Failed rows
are tried again by the next run, so they count as missing for the time left.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.store.lock import Session, session_of
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import MEASUREMENTS, list_parts, read_all
from rdbench.store.schema import Kind
from rdbench.types import KL_PRIOR, RateKind, Status, StoreError

Unit = tuple[str, str, str, str, str, str, str]
"""Names a row: system, point, variant, domain, clip, kind/key, and backend or ""."""

MISSING = "missing"
_KL = f"{Kind.RATE}/{RateKind.KL}"
_KEPT = (Kind.AUDIO, Kind.TRACE)
_COLUMNS = (
    "unit_key", "system", "point", "variant", "domain", "clip", "kind", "key", "backend", "status",
    "reason",
)  # fmt: skip


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
    most frequent first. process: who writes now, "" where nobody does. seconds_left: None where
    it cannot be told. finished: when the run ended, None where it has not.
    """

    folder: Path
    planned: bool
    counts: Counts
    systems: Mapping[str, Counts]
    reasons: tuple[tuple[str, int], ...]
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
    found = read_all(folder / MEASUREMENTS, _COLUMNS).to_pydict()
    tally = _tally(manifest, found)
    counts = _total(tally)
    session = session_of(folder)
    running = session is not None and session.running
    failures = Counter(
        reason
        for reason, status, key in zip(found["reason"], found["status"], found["key"], strict=True)
        if status == Status.FAILED and key != RateKind.CONTAINER  # it fails with its payload
    )
    answered = sum(status != Status.FAILED for status in found["status"])
    planned = "plan" in manifest
    return RunStatus(
        folder=folder,
        planned=planned,
        counts=counts,
        systems={name: _total(tally, name) for name in dict.fromkeys(name for name, _ in tally)},
        reasons=tuple(failures.most_common()),
        process=f"process {session.pid} on {session.host}" if session and running else "",
        seconds_left=_seconds_left(folder, session, answered, counts) if planned else None,
        started=str(manifest.get("started", "")),
        finished=None if running else manifest.get("finished"),
    )


def planned_rows(manifest: Mapping[str, Any]) -> Iterator[Unit]:
    """Every row that the manifest's plan asks for; raises StoreError for a plan that is none."""
    try:
        clips: dict[str, list[str]] = {}
        for clip in manifest["corpus"]["clips"]:
            clips.setdefault(clip["domain"], []).append(clip["name"])
        for entry in manifest["plan"]:
            step = (entry["system"], entry["point"], entry["variant"], entry["domain"])
            for what in entry["each"]:
                quantity = _quantity(what)
                for name in clips.get(entry["domain"], ()):
                    yield (*step, name, *quantity)
            for what in entry["whole"]:
                yield (*step, "", *_quantity(what))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(
            "the plan in manifest.json is damaged; restore the file from a copy, or run again"
        ) from error


def statuses(found: Mapping[str, list[str]]) -> dict[Unit, str]:
    """The status of every row in a table's columns, by its name with and without its backend.

    A KL without a backend is the headline, as in plans of an rdbench that did not name its prior;
    KL to a fitted prior goes by its full name alone.
    """
    kinds = (f"{kind}/{key}" for kind, key in zip(found["kind"], found["key"], strict=True))
    names = (found[name] for name in ("system", "point", "variant", "domain", "clip"))
    by_name: dict[Unit, str] = {}
    for *step, kind, backend, status in zip(
        *names, kinds, found["backend"], found["status"], strict=True
    ):
        system, point, variant, domain, clip = step
        by_name[system, point, variant, domain, clip, kind, backend] = status
        if kind != _KL or backend in ("", KL_PRIOR):
            by_name[system, point, variant, domain, clip, kind, ""] = status
    return by_name


def _tally(manifest: Mapping[str, Any], found: Mapping[str, list[str]]) -> Counter[tuple[str, str]]:
    """Rows by system and status."""
    if "plan" in manifest:
        there = statuses(found)
        return Counter((unit[0], there.get(unit, MISSING)) for unit in planned_rows(manifest))
    rows = zip(found["system"], found["status"], found["kind"], strict=True)
    return Counter(
        (system, status) for system, status, kind in rows if kind not in (Kind.AUDIO, Kind.TRACE)
    )


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


def _quantity(what: str) -> tuple[str, str]:
    kind, key, *backend = what.split("/", 2)
    return f"{kind}/{key}", backend[0] if backend else ""


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
