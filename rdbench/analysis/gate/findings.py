"""What a check finds beside scores: points, quantities, clips and failures that are new or gone.

A finding is one row of `FINDING_COLUMNS`; what is still open has no verdict yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import ABSENT, FAILED, OK, UNDEFINED, DomainScores, PointKey
from rdbench.analysis.runs import missing_rows
from rdbench.store.schema import Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.arrays import ClipValues
    from rdbench.analysis.gate.config import GateConfig
    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]
    Codes = npt.NDArray[np.int8]
    Flags = npt.NDArray[np.bool_]
    Quantities = Mapping[tuple[str, str], ClipValues]

NAMED = 3
UNCHANGED = "unchanged"

FINDING_COLUMNS = [
    "what", "domain", "key", "backend", "system", "curve", "point", "variant", "clip", "baseline",
    "value", "loss", "low", "high", "unit", "tolerance", "limit", "p", "p_holm", "p_gain",
    "n_clips", "n_groups", "verdict", "message",
]  # fmt: skip


def finding(what: str, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(FINDING_COLUMNS, "")
    row |= dict.fromkeys(
        ("baseline", "value", "loss", "low", "high", "limit", "p", "p_holm", "p_gain"), np.nan
    )
    return row | {"what": what, "n_clips": 0, "n_groups": 0} | more


@dataclass(frozen=True)
class Both:
    """A domain of the run and of the baseline, clips in one order; points by name."""

    run: DomainScores
    baseline: DomainScores
    order: npt.NDArray[np.intp]  # the baseline's clips in the run's order, −1 where absent
    shared: tuple[tuple[PointKey, int, int], ...]

    @property
    def quantities(self) -> tuple[tuple[str, Quantities, Quantities], ...]:
        """By kind, what the run has and what the baseline has."""
        mine, theirs = self.run, self.baseline
        return (
            (Kind.METRIC.value, mine.metrics, theirs.metrics),
            (Kind.RATE.value, mine.rates, theirs.rates),
            (Kind.LATENT.value, mine.latents, theirs.latents),
        )

    def old(self, values: Array, index: Sequence[int]) -> Array:
        found = values[list(index)][:, self.order]
        result: Array = np.where(self.order >= 0, found, np.nan)
        return result

    def old_status(self, quantity: ClipValues, point: int) -> Codes:
        """The baseline's status of the run's clips, at one of the baseline's points."""
        found = quantity.status[point][self.order]
        result: Codes = np.where(self.order >= 0, found, np.int8(ABSENT))
        return result

    def gone(self, now: Codes, before: Codes) -> list[str]:
        """The baseline's clips with a status before and none now; each in its own side's order."""
        there = np.zeros(len(before), dtype=bool)
        there[self.order[(now != ABSENT) & (self.order >= 0)]] = True
        return [self.baseline.clips[c] for c in np.flatnonzero((before != ABSENT) & ~there)]


def joined(run: DomainScores, baseline: DomainScores) -> Both:
    clip_of = {name: i for i, name in enumerate(baseline.clips)}
    order = np.array([clip_of.get(name, -1) for name in run.clips], dtype=np.intp)
    old = {point: i for i, point in enumerate(baseline.points)}
    shared = tuple((p, i, old[p]) for i, p in enumerate(run.points) if p in old)
    return Both(run, baseline, order, shared)


def presence(both: Both, config: GateConfig) -> Iterator[dict[str, Any]]:
    """Points, quantities and clips that are in one of the two alone."""
    new, old = dict.fromkeys(both.run.points), dict.fromkeys(both.baseline.points)
    for point in new:
        if point not in old:
            yield at(both, point, "point", "new", "not in the baseline")
    for point in old:
        if point not in new:
            yield at(both, point, "point", "vanished", "in the baseline, not in the run")
    for kind, mine, theirs in both.quantities:
        for key, backend in dict.fromkeys([*mine, *theirs]):
            if config.of(kind, key, backend) is None:
                continue
            for point, i, j in both.shared:
                now = (key, backend) in mine and bool(mine[key, backend].status[i].any())
                before = (key, backend) in theirs and bool(theirs[key, backend].status[j].any())
                if now != before:
                    verdict = "new" if now else "vanished"
                    message = "not in the baseline" if now else "in the baseline, not in the run"
                    row = at(both, point, kind, verdict, message)
                    yield row | {"key": key, "backend": backend}
                elif now and mine[key, backend].sets is None:
                    held = theirs[key, backend].status[j]
                    gone = both.gone(mine[key, backend].status[i], held)
                    if gone:
                        message = _clips_gone(gone, int((held != ABSENT).sum()))
                        row = at(both, point, "clips", "vanished", message)
                        yield row | {"key": key, "backend": backend}


def vanished_domains(
    here: Mapping[str, DomainScores], there: Mapping[str, DomainScores]
) -> Iterator[dict[str, Any]]:
    """The points of domains of which the run has no row at all."""
    for domain, scores in there.items():
        for point in scores.points if domain not in here else ():
            yield finding(
                "point", domain=domain, **point._asdict(), verdict="vanished",
                message="in the baseline, not in the run",
            )  # fmt: skip


def unfinished(run: Run, config: GateConfig) -> Iterator[dict[str, Any]]:
    """A run that stopped before it had all scores and rates that are held against a baseline."""
    if run.manifest.get("finished"):
        return
    missing, _ = missing_rows(run)
    kinds = {Kind.METRIC, Kind.RATE, Kind.LATENT}
    absent = [
        unit for unit in missing
        if (what := unit.quantity).kind in kinds
        and config.of(what.kind, what.key, what.model) is not None
    ]  # fmt: skip
    if absent:
        yield finding(
            "run", verdict="failed",
            message=f"not finished: {len(absent):,} scores and rates to check are missing; "
            "`rdbench run` goes on where it stopped",
        )  # fmt: skip


def undefined(both: Both, config: GateConfig) -> Iterator[dict[str, Any]]:
    """Clips that had a score or rate in the baseline and for which it is undefined now."""
    for kind, mine, theirs in both.quantities:
        for (key, backend), quantity in mine.items():
            before = theirs.get((key, backend))
            if before is None or config.of(kind, key, backend) is None:
                continue
            for point, i, j in both.shared:
                lost = (quantity.status[i] == UNDEFINED) & (both.old_status(before, j) == OK)
                for c, clip in _clips(both, quantity, lost):
                    reason = quantity.reasons.get((i, c), "") or "no reason given"
                    message = f"undefined, ok in the baseline: {reason}"
                    row = at(both, point, "undefined", "regression", message)
                    yield row | {"key": key, "backend": backend, "clip": clip}


def failures(both: Both, config: GateConfig) -> Iterator[dict[str, Any]]:
    """Failed units of the run, new or known; known ones that were mended."""
    old_of = {point: j for point, _, j in both.shared}
    for kind, mine, theirs in both.quantities:
        for (key, backend), quantity in mine.items():
            if kind == Kind.LATENT and config.of(kind, key, backend) is None:
                continue  # what nobody asks about costs no verdict
            before = theirs.get((key, backend))
            for i, point in enumerate(both.run.points):
                status = quantity.status[i]
                j = old_of.get(point)
                known = np.zeros(len(status), dtype=bool)
                if before is not None and j is not None:
                    known = both.old_status(before, j) == FAILED
                told = (status == FAILED) | (known & (status != ABSENT))
                for c, clip in _clips(both, quantity, told):
                    reason = quantity.reasons.get((i, c), "") or "failed"
                    if status[c] != FAILED:
                        fate = "mended" if status[c] == OK else "undefined"
                        verdict, message = "pass", f"failed in the baseline, {fate} in the run"
                    elif known[c]:
                        accept = config.known_failures == "accept"
                        verdict = "skipped" if accept else "failed"
                        message = f"failed, as in the baseline: {reason}"
                    else:
                        verdict, message = "failed", f"new failure: {reason}"
                    row = at(both, point, "failure", verdict, message)
                    yield row | {"key": key, "backend": backend, "clip": clip}


def at(both: Both, point: PointKey, what: str, verdict: str, message: str) -> dict[str, Any]:
    return finding(
        what, domain=both.run.domain, **point._asdict(), verdict=verdict, message=message
    )


def _clips(both: Both, quantity: ClipValues, which: Flags) -> list[tuple[int, str]]:
    """Numbers and names of the clips to tell of; the value of a set is told of once."""
    found = np.flatnonzero(which).tolist()
    if quantity.sets is not None:
        return [(c, "") for c in found[:1]]
    return [(c, both.run.clips[c]) for c in found]


def _clips_gone(names: Sequence[str], given: int) -> str:
    rest = len(names) - NAMED
    shown = ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"no row on {len(names)} of {given} clips: {shown}"
