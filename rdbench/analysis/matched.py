"""One run against an earlier one: systems of one name, point by point and curve by curve.

"Is this checkpoint better than last week's?" Every headline point that both runs have is compared
with itself on the same clips, and every curve on which something has changed with itself by
BD-rate: whole, as each run has it, with the points that are the same in both. What both measured
alike, row by row, is named and not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.paired import PAIR_COLUMNS, paired_table
from rdbench.analysis.runs import Run, clashing_systems, merge, named_apart
from rdbench.store.variants import variants_of
from rdbench.suggest import nearest
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import pandas as pd

LEAST_POINTS = 3
"""Points of a curve that has a BD-rate by PCHIP."""
ALPHA = 0.05
"""A difference counts whose p, corrected for all tests of the comparison (Holm), is below this."""


class ChangedCurve(NamedTuple):
    """How many points a curve has in either run, and how many of those of both differ."""

    curve: str
    old: int
    new: int
    changed: int


@dataclass(frozen=True)
class Matched:
    """What there is to say of a run and an earlier one.

    run: both, as one; systems of curves that differ have the run's name before theirs. pairs:
    differences of points, new − old (`PAIR_COLUMNS`), one table for all tests. bd: BD-rates of
    curves, new against old (`BD_COLUMNS`), None where no curve has points enough. curves: those
    curves. same: systems whose rows are the same in both. only_old, only_new: systems of one of
    them, or without a point in both.
    """

    run: Run
    pairs: pd.DataFrame
    bd: pd.DataFrame | None
    curves: tuple[ChangedCurve, ...]
    same: tuple[str, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]

    @property
    def better(self) -> pd.DataFrame:
        """The pairs that are better for sure."""
        return self._sure(better=True)

    @property
    def worse(self) -> pd.DataFrame:
        """The pairs that are worse for sure."""
        return self._sure(better=False)

    def _sure(self, *, better: bool) -> pd.DataFrame:
        rises = self.pairs["difference"] > 0
        gains = rises == (self.pairs["better"] == "higher")
        return self.pairs[(self.pairs["p_holm"] < ALPHA) & (gains == better)]


def match(old: Run, new: Run, *, metrics: Sequence[str] | None = None) -> Matched:
    """Compares `new` with `old` by names of systems and points.

    metrics: these alone. Raises NotComparableError for runs that were not measured alike, and
    RdbenchError where they have no system in common.
    """
    import pandas as pd

    old, new = named_apart([old, new])
    before, after = _systems(old), _systems(new)
    both = [name for name in after if set(after[name]) & set(before.get(name, ()))]
    if not both:
        raise RdbenchError(
            f"{old.name} and {new.name} have no point of one system and name ({', '.join(before)}; "
            f"{', '.join(after)}); name a curve that both are held against with --anchor, or "
            "points with --pair"
        )
    measured = {*old.metrics} & {*new.metrics}
    for metric in metrics or ():
        if metric not in measured:
            raise RdbenchError(
                f"no metric {metric!r} was measured in both {old.name} and {new.name}; "
                f"{nearest(metric, sorted(measured))}"
            )
    changed = clashing_systems([old, new])
    merged = merge([old, new], apart=_on_curves_of(changed, [old, new]))
    pairs = [
        (f"{new.name}:{name}/{point}", f"{old.name}:{name}/{point}")
        for name in both
        if name in changed
        for point in after[name]
        if point in before[name]
    ]
    table = (
        paired_table(merged, pairs=pairs, metrics=metrics)
        if pairs
        else pd.DataFrame(columns=PAIR_COLUMNS)
    )
    curves = _changed_curves(merged, old, new, {own for own, _ in pairs})
    return Matched(
        merged,
        table,
        _bd(merged, old, new, curves, metrics),
        curves,
        same=tuple(name for name in both if name not in changed),
        only_old=tuple(name for name in before if name not in both),
        only_new=tuple(name for name in after if name not in both),
    )


def _systems(run: Run) -> dict[str, list[str]]:
    """The points of each system that are headlined, in the run's order."""
    headline = {name for name, card in variants_of(run.manifest).items() if card.headline}
    rows = run.rows[run.rows["variant"].isin(headline) & (run.rows["kind"] == "metric")]
    found: dict[str, list[str]] = {}
    for system, point in rows[["system", "point"]].drop_duplicates().astype(str).values:
        found.setdefault(system, []).append(point)
    return found


def _on_curves_of(changed: Collection[str], runs: Sequence[Run]) -> set[str]:
    """The systems on the curves of those that have changed: a curve is compared whole."""
    found: set[str] = set()
    for run in runs:
        curves = run.rows.loc[run.rows["system"].isin(list(changed)), "curve"].unique()
        found |= set(run.rows.loc[run.rows["curve"].isin(curves), "system"].astype(str))
    return found


def _changed_curves(
    merged: Run, old: Run, new: Run, changed: Collection[str]
) -> tuple[ChangedCurve, ...]:
    """The curves that differ and have points enough in both; changed: points of the new run."""
    points = _systems(merged)
    members: dict[str, list[str]] = {}
    for system, curve in (
        merged.rows.drop_duplicates("system")[["system", "curve"]].astype(str).values
    ):
        members.setdefault(curve, []).extend(
            f"{system}/{point}" for point in points.get(system, ())
        )
    found = []
    for curve, own in members.items():
        name = curve.removeprefix(f"{new.name}:")
        before = members.get(f"{old.name}:{name}", ())
        if curve.startswith(f"{new.name}:") and min(len(own), len(before)) >= LEAST_POINTS:
            found.append(ChangedCurve(name, len(before), len(own), len({*own} & {*changed})))
    return tuple(found)


def _bd(
    merged: Run,
    old: Run,
    new: Run,
    curves: Sequence[ChangedCurve],
    metrics: Sequence[str] | None,
) -> pd.DataFrame | None:
    """BD-rates of these curves, whole."""
    import pandas as pd

    tables = [
        bd_table(
            merged,
            reference=f"{old.name}:{one.curve}",
            curves=[f"{new.name}:{one.curve}"],
            metrics=metrics,
            methods=("pchip",),
            quantities=("bd_rate",),
        )
        for one in curves
    ]
    return pd.concat(tables, ignore_index=True) if tables else None
