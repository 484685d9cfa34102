"""Ratios of sums over clips, with their intervals: what every table and figure shows.

Every aggregate of rdbench is a ratio of two sums over clips: a mean score is Σ value / Σ 1, the
rate of a point is Σ bits / Σ seconds. With numerators n_i and denominators d_i summed per group of
clips, and the number w_i of times that group i was drawn,

    θ = Σ n_i / Σ d_i        θ* = Σ w_i n_i / Σ w_i d_i        θ_(i) = Σ_{j≠i} n_j / Σ_{j≠i} d_j

and the interval is that of `intervals` (studentised by default). Rates are ratios that cannot fall
under zero and are read on an axis of logarithms: their intervals are taken on that scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.bootstrap import ONE_GROUP, ratio, replicates
from rdbench.analysis.intervals import Factor, IntervalMethod, influences, intervals

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

NO_CLIP = "no clip was scored"
FEW_GROUPS = "too few groups of clips: no interval"

# Replicates held at once: rows × resamples (64 MiB in float64).
CHUNK = 2**23


@dataclass(frozen=True)
class Intervals:
    """Estimates with their intervals, one entry per estimate.

    value, low, high: float64 (estimates,); NaN where there is none. groups: groups with a
    denominator above zero, int64 (estimates,). notes: "" or why the interval is not a plain one.
    """

    value: Array
    low: Array
    high: Array
    groups: npt.NDArray[np.int64]
    notes: tuple[str, ...]


def ratio_intervals(
    numerators: Array,
    denominators: Array,
    weights: Array,
    *,
    logarithmic: Flags | None = None,
    confidence: float = 0.95,
    method: IntervalMethod = "studentised",
) -> Intervals:
    """Ratio estimates Σ n / Σ d and their intervals.

    numerators, denominators: sums per group (estimates, groups), 0 for a group that has nothing
    to say. weights: (resamples, groups). logarithmic: which estimates (estimates,) are taken on the
    scale of logarithms; those that are not above zero stay on their own.

    No clip, one group, or so few that the interval is unbounded give NaN; no variation gives a
    degenerate interval; each has its note.
    """
    estimates, resamples = len(numerators), len(weights)
    value = ratio(numerators.sum(axis=1), denominators.sum(axis=1))
    low, high = np.full(estimates, np.nan), np.full(estimates, np.nan)
    groups = (denominators > 0).sum(axis=1).astype(np.int64)
    asked = np.zeros(estimates, dtype=bool) if logarithmic is None else logarithmic
    notes: list[str] = []
    step = max(1, CHUNK // resamples)
    for start in range(0, estimates, step):
        part = slice(start, start + step)
        low[part], high[part], found = _intervals(
            numerators[part],
            denominators[part],
            weights,
            asked[part],
            confidence=confidence,
            method=method,
        )
        notes += found
    for index, count in enumerate(groups.tolist()):
        if count < 2:
            notes[index] = ONE_GROUP if count else NO_CLIP
            low[index] = high[index] = np.nan
    return Intervals(value, low, high, groups, tuple(notes))


def _intervals(
    numerators: Array,
    denominators: Array,
    weights: Array,
    logarithmic: Flags,
    *,
    confidence: float,
    method: IntervalMethod,
) -> tuple[Array, Array, list[str]]:
    value = ratio(numerators.sum(axis=1), denominators.sum(axis=1))
    drawn = replicates(numerators, denominators, weights)
    left_out = ratio(
        numerators.sum(axis=1, keepdims=True) - numerators,
        denominators.sum(axis=1, keepdims=True) - denominators,
    )
    positive = (np.nan_to_num(drawn, nan=1.0) > 0).all(axis=1) & (left_out > 0).all(axis=1)
    scale = logarithmic & positive & (value > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value, drawn, left_out = (
            np.where(scale.reshape(-1, *[1] * (part.ndim - 1)), np.log(part), part)
            for part in (value, drawn, left_out)
        )
    factor = Factor(weights, influences(left_out))
    found = intervals(value, drawn, [factor], confidence=confidence, method=method)
    unbounded = np.isinf(found.low) | np.isinf(found.high)
    notes = [
        FEW_GROUPS if none else note for none, note in zip(unbounded, found.notes, strict=True)
    ]
    ends = [np.where(unbounded, np.nan, end) for end in (found.low, found.high)]
    low, high = (np.exp(end, out=end.copy(), where=scale) for end in ends)
    return low, high, notes
