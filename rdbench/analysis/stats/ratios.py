"""Ratios of sums over clips, with their intervals: what every table and figure shows.

Every aggregate of rdbench is a ratio of two sums over clips: a mean score is Σ value / Σ 1, the
rate of a point is Σ bits / Σ seconds. With numerators n_i and denominators d_i summed per group of
clips, and the number w_i of times that group i was drawn,

    θ = Σ n_i / Σ d_i        θ* = Σ w_i n_i / Σ w_i d_i        θ_(i) = Σ_{j≠i} n_j / Σ_{j≠i} d_j

and the interval is that of `intervals` (studentised by default). Rates are ratios that cannot fall
under zero and are read on an axis of logarithms: their intervals are taken on that scale.

Clips of a group may all lack a score. What counts is the groups that have one: where they are
fewer than `intervals.ENOUGH`, the interval is Student's over them alone, and there is none for
fewer than three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.stats.bootstrap import NO_VARIATION, ONE_GROUP, ratio, replicates
from rdbench.analysis.stats.intervals import (
    ENOUGH,
    ROUNDING,
    STUDENT,
    Factor,
    IntervalMethod,
    influences,
    intervals,
    standard_error,
    student_ends,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

NO_CLIP = "no clip was scored"
FEW_GROUPS = "two groups of clips: no interval"

FEWEST = 3

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

    No clip, one group or two give NaN; no variation gives a degenerate interval; each has its note.
    """
    estimates, resamples = len(numerators), len(weights)
    value = ratio(numerators.sum(axis=1), denominators.sum(axis=1))
    low, high = np.full(estimates, np.nan), np.full(estimates, np.nan)
    groups = (denominators > 0).sum(axis=1).astype(np.int64)
    asked = np.zeros(estimates, dtype=bool) if logarithmic is None else logarithmic
    notes = np.full(estimates, "", dtype=object)
    few = groups < (ENOUGH if method == "studentised" else 2)
    many = np.flatnonzero(~few)
    step = max(1, CHUNK // resamples)
    for start in range(0, len(many), step):
        part = many[start : start + step]
        low[part], high[part], notes[part] = _intervals(
            numerators[part],
            denominators[part],
            weights,
            asked[part],
            confidence=confidence,
            method=method,
        )
    for index in np.flatnonzero(few):
        there = denominators[index] > 0
        low[index], high[index], notes[index] = _student(
            numerators[index, there], denominators[index, there], asked[index], confidence
        )
    return Intervals(value, low, high, groups, tuple(notes))


def _student(
    numerators: Array, denominators: Array, logarithmic: bool, confidence: float
) -> tuple[float, float, str]:
    """Student's interval of one ratio from the groups that have something to say."""
    groups = len(numerators)
    if groups < FEWEST:
        return np.nan, np.nan, (NO_CLIP, ONE_GROUP, FEW_GROUPS)[groups]
    value = ratio(numerators.sum(keepdims=True), denominators.sum(keepdims=True))
    left_out = ratio(numerators.sum() - numerators[None], denominators.sum() - denominators[None])
    scale = logarithmic and bool(value[0] > 0) and bool((left_out > 0).all())
    if scale:
        value, left_out = np.log(value), np.log(left_out)
    error = standard_error([Factor(np.empty((0, groups)), influences(left_out))])
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    (ends,) = student_ends(value, error, np.array([groups - 1]), tails)
    if scale:
        ends = np.exp(ends)
    still = bool(np.ptp(ends) <= ROUNDING * np.abs(ends).max())
    return float(ends[0]), float(ends[1]), NO_VARIATION if still else STUDENT


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
    ends = (found.low, found.high)
    low, high = (np.exp(end, out=end.copy(), where=scale) for end in ends)
    return low, high, list(found.notes)
