"""What a check finds beside scores: points, quantities and failures that are new or gone.

A finding is one row of `FINDING_COLUMNS`; what is still open has no verdict yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.panel import STATUSES, Panel, Place

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.gate_config import GateConfig

    Array = npt.NDArray[np.float64]

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
    """A domain of the run and of the baseline, clips in one order; places by name."""

    run: Panel
    baseline: Panel
    order: npt.NDArray[np.intp]  # the baseline's clips in the run's order, −1 where absent
    shared: tuple[tuple[Place, int, int], ...]

    def old(self, values: Array, index: Sequence[int]) -> Array:
        found = values[list(index)][:, self.order]
        result: Array = np.where(self.order >= 0, found, np.nan)
        return result


def joined(run: Panel, baseline: Panel) -> Both:
    place_of = {name: i for i, name in enumerate(baseline.clips)}
    order = np.array([place_of.get(name, -1) for name in run.clips], dtype=np.intp)
    old = {place: i for i, place in enumerate(baseline.places)}
    shared = tuple((p, i, old[p]) for i, p in enumerate(run.places) if p in old)
    return Both(run, baseline, order, shared)


def places(both: Both, config: GateConfig) -> Iterator[dict[str, Any]]:
    """Points and quantities that are in one of the two alone."""
    new, old = dict.fromkeys(both.run.places), dict.fromkeys(both.baseline.places)
    for place in new:
        if place not in old:
            yield at(both, place, "point", "new", "not in the baseline")
    for place in old:
        if place not in new:
            yield at(both, place, "point", "vanished", "in the baseline, not in the run")
    for kind, mine, theirs in (
        ("metric", both.run.metrics, both.baseline.metrics),
        ("rate", both.run.rates, both.baseline.rates),
    ):
        for key, backend in dict.fromkeys([*mine, *theirs]):
            if config.of(kind, key) is None:
                continue
            for place, i, j in both.shared:
                now = (key, backend) in mine and bool(mine[key, backend].status[i].any())
                before = (key, backend) in theirs and bool(theirs[key, backend].status[j].any())
                if now != before:
                    verdict = "new" if now else "vanished"
                    message = "not in the baseline" if now else "in the baseline, not in the run"
                    row = at(both, place, kind, verdict, message)
                    yield row | {"key": key, "backend": backend}


def failures(both: Both, config: GateConfig) -> Iterator[dict[str, Any]]:
    """Failed units of the run, new or known; known ones that were mended."""
    failed = STATUSES.index("failed")
    old_of = {place: j for place, _, j in both.shared}
    for mine, theirs in (
        (both.run.metrics, both.baseline.metrics),
        (both.run.rates, both.baseline.rates),
    ):
        for (key, backend), quantity in mine.items():
            before = theirs.get((key, backend))
            for i, place in enumerate(both.run.places):
                status = quantity.status[i]
                j = old_of.get(place)
                known = np.zeros(len(status), dtype=bool)
                if before is not None and j is not None:
                    known = (before.status[j][both.order] == failed) & (both.order >= 0)
                for c in np.flatnonzero((status == failed) | known):
                    reason = quantity.reasons.get((i, int(c)), "") or "failed"
                    if status[c] != failed:
                        verdict, message = "pass", "failed in the baseline, mended in the run"
                    elif known[c]:
                        accept = config.known_failures == "accept"
                        verdict = "skipped" if accept else "failed"
                        message = f"failed, as in the baseline: {reason}"
                    else:
                        verdict, message = "failed", f"new failure: {reason}"
                    row = at(both, place, "failure", verdict, message)
                    yield row | {"key": key, "backend": backend, "clip": both.run.clips[c]}


def at(both: Both, place: Place, what: str, verdict: str, message: str) -> dict[str, Any]:
    return finding(
        what, domain=both.run.domain, **place._asdict(), verdict=verdict, message=message
    )
