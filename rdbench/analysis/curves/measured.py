"""Measured curves: one or two of them on their common clips, whole and without each group.

A curve is refused, with the reason as its answer, where it has no clip with both score and rate,
where two of its points have one rate, where its quality never changes, where making it monotone
moves a point out of that point's interval, and where values of sets are of different sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import RESIDUAL_DELAY, DomainScores
from rdbench.analysis.curves.delta import Curve, curve
from rdbench.analysis.curves.monotone import LEVEL
from rdbench.analysis.curves.sides import Side, common_clips, given_clips, usable
from rdbench.analysis.stats.leave_one_out import (
    Columns,
    Sampling,
    columns_of,
    drawn,
    kbps,
    means,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

SAME_RATE = 1e-9
OTHER_SETS = "refused: not all of its values are of the same clips; compare runs that have them all"


@dataclass(frozen=True)
class Made:
    """One curve on the chosen clips, in all columns of `columns`; or why it is none.

    clips: how many, of `given`. note: what was left out or repaired. repaired: the points that
    were moved to make the curve monotone.
    """

    side: Side
    curve: Curve | None
    columns: Columns | None
    clips: int
    given: int
    note: str
    refusal: str
    repaired: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two curves on their common clips, `chosen` (clips,).

    refusal: the first reason why they cannot be compared.
    """

    reference: Made
    test: Made
    chosen: Flags

    @property
    def refusal(self) -> str:
        return self.reference.refusal or self.test.refusal

    @property
    def single(self) -> Made | None:
        """The side that has one point where the other has more; None where there is none."""
        alone = [made for made in (self.reference, self.test) if len(made.side.points) == 1]
        return alone[0] if len(alone) == 1 else None

    @property
    def note(self) -> str:
        return "; ".join(filter(None, (self.reference.note, self.test.note)))

    @property
    def repaired(self) -> tuple[str, ...]:
        return (*self.reference.repaired, *self.test.repaired)


def make_pair(
    scores: DomainScores, metric: tuple[str, str], sign: float, sides: tuple[Side, Side]
) -> Pair:
    """Both curves on the clips that both have; sides: reference, test.

    sign: −1 where lower is better. A refusal of one side stands for both.
    """
    made, chosen = _curves(scores, metric, sign, sides, "both curves")
    return Pair(made[0], made[1], chosen)


def make_curve(scores: DomainScores, metric: tuple[str, str], sign: float, side: Side) -> Made:
    """One curve on the clips that all its points have."""
    (made,), _ = _curves(scores, metric, sign, (side,), side.curve)
    return made


def drawn_pair(
    scores: DomainScores, metric: tuple[str, str], sign: float, pair: Pair, sampling: Sampling
) -> tuple[Curve, Curve]:
    """Both curves, reference and test, in the same resamples of their common clips."""
    curves = []
    for side in (pair.reference.side, pair.test.side):
        quality, rate = drawn(
            scores, side.points, metric, side.rate, pair.chosen, sampling=sampling
        )
        curves.append(curve(rate, sign * quality))
    return curves[0], curves[1]


def _curves(
    scores: DomainScores,
    metric: tuple[str, str],
    sign: float,
    sides: Sequence[Side],
    them: str,
) -> tuple[list[Made], Flags]:
    """The curves on the clips that all their points have, and these clips; them: the curves."""
    kept = [usable(scores, side, metric) for side in sides]
    given = given_clips(scores, kept, metric)
    refusals = [side.refusal for side in kept]
    chosen = np.zeros(len(scores.clips), dtype=bool)
    if not any(refusals):
        chosen = common_clips(scores, kept, metric)
        if not chosen.any():
            refusals = [f"refused: no clip has scores at all points of {them}"] * len(kept)
        elif not scores.metrics[metric].same_set([i for s in kept for i in s.points], chosen):
            refusals = [OTHER_SETS] * len(kept)
    if any(refusals):
        none = zip(kept, refusals, strict=True)
        return [Made(side, None, None, 0, given, "", refusal) for side, refusal in none], chosen
    columns = columns_of(scores, chosen, metric[0])
    shared: Any = {"sign": sign, "chosen": chosen, "columns": columns, "given": given}
    return [_made(scores, metric, side=side, **shared) for side in kept], chosen


def _made(
    scores: DomainScores,
    metric: tuple[str, str],
    *,
    sign: float,
    side: Side,
    chosen: Flags,
    columns: Columns,
    given: int,
) -> Made:
    clips = int(chosen.sum())
    quality = sign * means(scores, side.points, metric, chosen)
    rate = kbps(scores, side.points, side.rate, chosen, columns)
    refusal = _no_curve(scores, side, rate[:, 0])
    if refusal:
        return Made(side, None, columns, clips, given, "", refusal)
    repaired, refusal = _repair(scores, side, rate, quality, columns)
    notes = [f"repaired to be monotone at {', '.join(repaired)}"] if repaired else []
    if side.left_out:
        notes.append(f"without {', '.join(side.left_out)}: no scores on half of the clips or more")
    made = curve(rate, quality)
    return Made(side, made, columns, clips, given, "; ".join(notes), refusal, repaired)


def chosen_metrics(scores: DomainScores, keys: Sequence[str] | None) -> list[tuple[str, str]]:
    """The (key, backend) of scores of quality, those in `keys` alone where given."""
    return [
        (key, backend)
        for key, backend in scores.metrics
        if key != RESIDUAL_DELAY and (keys is None or key in keys)
    ]


def _no_curve(scores: DomainScores, side: Side, rate: Array) -> str:
    """Why the points of `side` are no curve whatever the quality; "" where they are one."""
    if not (rate > 0).all():
        return f"refused: a point of {side.curve} has no bits"
    order = np.argsort(rate)
    for i, j in pairwise(order.tolist()):
        if rate[j] <= rate[i] * (1 + SAME_RATE):
            names = [scores.name(side.points[k]) for k in (i, j)]
            return (
                f"refused: two points of {side.curve} have the same rate "
                f"({names[0]} and {names[1]}, {rate[i]:.3g} kbps)"
            )
    return ""


def _repair(
    scores: DomainScores, side: Side, rate: Array, quality: Array, columns: Columns
) -> tuple[tuple[str, ...], str]:
    """The points that isotonic repair moves, and why it may not (neither, for one point alone).

    What it moves by rounding alone is not moved: the mean of a level block is none of its values.
    """
    if len(side.points) == 1:
        return (), ""
    order = np.argsort(rate[:, 0])
    raw = quality[order, :1]
    level = curve(rate[:, :1], quality[:, :1]).quality
    flat = 1e-12 * float(np.abs(raw).max())
    if float(np.ptp(raw)) <= flat:
        return (), f"refused: the quality of {side.curve} is the same at all its rates"
    moved = np.flatnonzero(np.abs(level[:, 0] - raw[:, 0]) > LEVEL * float(np.ptp(raw)))
    if not len(moved):
        return (), ""
    made = columns.interval(quality[order][moved])
    inside = (made.low <= level[moved, 0]) & (level[moved, 0] <= made.high)
    names = [scores.name(side.points[order[i]]) for i in moved]
    if inside.all() and level[-1, 0] - level[0, 0] <= flat:
        return (), f"refused: the quality of {side.curve} does not rise with its rate"
    if inside.all():
        return tuple(names), ""
    worst = names[int(np.flatnonzero(~inside)[0])]
    return (), (
        f"refused: {side.curve} is not monotone, and the repair moves {worst} out of its interval"
    )
