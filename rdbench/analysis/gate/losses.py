"""Losses of points: has a score or rate become worse on the same clips, by more than chance?

Per point and metric the loss is a mean over the clips that have a score before and after (what got
worse is positive). A rate is total bits over total seconds, so that its loss is the difference of
two such ratios, and the loss of a set's value is that of two values of the same clips. Errors,
degrees of freedom and p are those of `rdbench.analysis.stats.intervals`.

With few clips the errors are themselves uncertain, which costs much power at the small levels that
correcting for many tests asks for. Points of one metric tell about each other's errors: they are
moderated (Smyth, Linear models and empirical Bayes methods for assessing differential expression,
Stat. Appl. Genet. Mol. Biol. 3, 2004). With s² of ν degrees of freedom, scaled by ν + 1,

    s̃² = (ν₀ s₀² + ν s²) / (ν₀ + ν)        t̃ has ν₀ + ν degrees of freedom

where ν₀ and s₀² come from mean and variance of log s² over the points. Errors that differ much
give a small ν₀ and the ordinary test. Below `FEWEST_TO_MODERATE` points there is no moderation.
False alarms and power are measured by `benchmarks/gate_power.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.gate.findings import UNCHANGED, Both, at
from rdbench.analysis.stats.intervals import Spread, intervals, mirrored, p_above, spread
from rdbench.analysis.stats.leave_one_out import ratio_columns
from rdbench.store.schema import Kind

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.arrays import ClipValues
    from rdbench.analysis.gate.config import GateConfig, Tolerance
    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

FEWEST_TO_MODERATE = 3


def point_findings(both: Both, run: Run, config: GateConfig) -> Iterator[dict[str, Any]]:
    """Scores, rates and statistics of latents of the points that both have, not yet judged."""
    for kind, mine, theirs in both.quantities:
        for key, backend in mine:
            tolerance = config.of(kind, key, backend)
            if tolerance is None or (key, backend) not in theirs:
                continue
            quantity, before = mine[key, backend], theirs[key, backend]
            mine_at, theirs_at = [i for _, i, _ in both.shared], [j for *_, j in both.shared]
            new = quantity.values[mine_at]
            old = both.old(before.values, theirs_at)
            if kind == "rate":
                unit = "kbps"
                seconds = both.run.seconds[mine_at], both.old(both.baseline.seconds, theirs_at)
                held = _rates((old / 1000, seconds[1]), (new / 1000, seconds[0]), both.run.groups)
            else:
                unit = quantity.unit
                sign = _sign(kind, run, key)
                if quantity.sets is None or before.sets is None:
                    held = _scores(old, new, sign, both.run.groups)
                else:
                    held = _sets(both, (before, quantity), (old, new), sign)
            tested = _Tested(kind, key, backend, unit, tolerance)
            yield from _tests(both, tested, held)


@dataclass(frozen=True)
class _Tested:
    kind: str
    key: str
    backend: str
    unit: str
    tolerance: Tolerance


@dataclass(frozen=True)
class _Held:
    """One metric or rate at all shared points, on the clips that have it before and after.

    before, after: (points,). given: whether either has it on any clip. changed: whether any clip
    has another value. apart: verdict and message where something is given,
    and no loss.
    """

    before: Array
    after: Array
    losses: Losses
    given: Flags
    changed: Flags
    apart: tuple[str, str] = ("skipped", "no clip has both scores")


def _sign(kind: str, run: Run, key: str) -> float:
    if kind == Kind.LATENT:
        return 0.0
    return 1.0 if run.direction(key) == "higher" else -1.0


def _scores(old: Array, new: Array, sign: float, groups: npt.NDArray[np.intp]) -> _Held:
    """Means over clips; old, new: (points, clips)."""
    ones = np.ones_like(old)
    return _held((old, ones), (new, ones), losses(sign * (old - new), groups))


def _rates(
    old: tuple[Array, Array], new: tuple[Array, Array], groups: npt.NDArray[np.intp]
) -> _Held:
    """Total bits over total seconds; old, new: bits and seconds (points, clips)."""
    return _held(old, new, rate_losses(old, new, groups))


def _sets(
    both: Both, quantities: tuple[ClipValues, ClipValues], values: tuple[Array, Array], sign: float
) -> _Held:
    """Values of sets, where both are of the same clips; quantities, values: before, after.

    sign: 1 where a fall is the loss, −1 where a rise is, 0 where any change is.
    """
    known = [np.isfinite(one) for one in values]
    given = np.any(known[0] | known[1], axis=1)
    alike = (known[0] == known[1]).all(axis=1) & given
    groups = both.run.groups
    shape = len(given), int(groups.max()) + 1
    left_out, counts = np.full(shape, np.nan), np.zeros(shape)
    before, after = np.full((2, len(given)), np.nan)
    for n in np.flatnonzero(alike):
        before[n], after[n] = (one[n, known[0][n]][0] for one in values)
        counts[n] = np.bincount(groups[known[0][n]], minlength=shape[1])
        there = counts[n] > 0
        _, i, j = both.shared[n]
        old, new = ((q.sets or {}).get(at) for q, at in zip(quantities, (j, i), strict=True))
        if old and new and len(old.left_out) == len(new.left_out) == there.sum():
            left_out[n, there] = old.left_out - new.left_out
    signs = np.full(len(given), sign) if sign else np.where(before >= after, 1.0, -1.0)
    loss, left_out = signs * (before - after), signs[:, None] * left_out
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    found = Losses(loss, spread(loss, left_out, share), counts.sum(axis=1).astype(np.intp))
    apart = "undecided", "the values are not of the same clips"
    return _Held(before, after, found, given, before != after, apart)


def _held(old: tuple[Array, Array], new: tuple[Array, Array], found: Losses) -> _Held:
    before, after = np.isfinite(old[0]), np.isfinite(new[0])
    known = before & after
    given = np.any(before | after, axis=1)
    changed = np.any(known & ((old[0] != new[0]) | (old[1] != new[1])), axis=1)
    return _Held(_over(*old, known), _over(*new, known), found, given, changed)


def _over(numerators: Array, denominators: Array, known: Flags) -> Array:
    total, count = (np.where(known, x, 0.0).sum(axis=1) for x in (numerators, denominators))
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Array = np.where(count > 0, total / count, np.nan)
    return result


def _tests(both: Both, tested: _Tested, held: _Held) -> Iterator[dict[str, Any]]:
    found, before, unchanged = held.losses, held.before, ~held.changed
    limit = np.array([tested.tolerance.limit(x) if np.isfinite(x) else np.nan for x in before])
    spread = moderated(found.spread)
    certain = tested.kind == "rate"
    # The same score on every clip is no test: nothing was drawn that could raise an alarm.
    p = np.where(unchanged, np.nan, p_above(found.mean - limit, spread, certain=certain))
    gain = np.where(unchanged, np.nan, p_above(-found.mean, mirrored(spread), certain=certain))
    if tested.kind == Kind.LATENT:  # a change to either side, and none is a gain
        p, gain = np.minimum(2.0 * p, 1.0), np.full_like(gain, np.nan)
    made = intervals(found.mean, found.spread, certain=certain)
    for n, (point, _, _) in enumerate(both.shared):
        if not found.clips[n]:
            if held.given[n]:
                row = at(both, point, tested.kind, *held.apart)
                yield row | {"key": tested.key, "backend": tested.backend}
            continue
        row = at(both, point, tested.kind, "", UNCHANGED if unchanged[n] else "")
        yield row | {
            "key": tested.key, "backend": tested.backend, "unit": tested.unit,
            "baseline": before[n], "value": held.after[n], "loss": found.mean[n] + 0.0,
            "low": made.low[n], "high": made.high[n],
            "tolerance": tested.tolerance.text, "limit": limit[n],
            "p": p[n] if tested.tolerance.significant else np.nan, "p_gain": gain[n],
            "n_clips": int(found.clips[n]), "n_groups": int(found.spread.groups[n]),
            "still": bool(found.spread.judged[n] and found.spread.still[n]),
        }  # fmt: skip


@dataclass(frozen=True)
class Losses:
    """Loss, how much it varies, and the number of clips, per test (tests,)."""

    mean: Array
    spread: Spread
    clips: npt.NDArray[np.intp]


def losses(values: Array, groups: npt.NDArray[np.intp]) -> Losses:
    """values: loss per test and clip (tests, clips), NaN where there is none.

    groups: the group of each clip, a number from 0.
    """
    return _losses([(values, np.ones_like(values))], np.isfinite(values), groups)


def rate_losses(
    before: tuple[Array, Array], after: tuple[Array, Array], groups: npt.NDArray[np.intp]
) -> Losses:
    """The rise of Σ bits / Σ seconds, in the unit of bits per second.

    before, after: bits and seconds per test and clip (tests, clips); a clip counts where both have
    bits, NaN elsewhere. groups: as in `losses`.
    """
    known = np.isfinite(before[0]) & np.isfinite(after[0])
    return _losses([after, (-before[0], before[1])], known, groups)


def _losses(
    parts: Sequence[tuple[Array, Array]], known: Flags, groups: npt.NDArray[np.intp]
) -> Losses:
    """The sum of the ratios Σ n / Σ d of `parts` over the clips in `known`."""

    def by_group(values: Array) -> Array:
        return group_totals(np.where(known, values, 0.0), groups)

    columns = sum(ratio_columns(by_group(over), by_group(under)) for over, under in parts)
    assert not isinstance(columns, int)
    counts = by_group(np.ones(known.shape))
    clips = counts.sum(axis=1)
    share = counts / np.maximum(clips, 1)[:, None]
    return Losses(
        columns[:, 0], spread(columns[:, 0], columns[:, 1:], share), clips.astype(np.intp)
    )


def group_totals(values: Array, groups: npt.NDArray[np.intp]) -> Array:
    """Sums over the clips of each group, (tests, groups)."""
    count = int(groups.max()) + 1 if len(groups) else 0
    cells = groups + count * np.arange(len(values))[:, None]
    totals = np.bincount(cells.ravel(), weights=values.ravel(), minlength=count * len(values))
    result: Array = totals.reshape(len(values), count).astype(np.float64)
    return result


def moderated(given: Spread) -> Spread:
    """Errors and degrees of freedom of the points of one metric, after moderation.

    Tests without an error (NaN or 0), or with too few groups, neither give nor take.
    """
    usable = given.judged & (given.error > 0)
    if usable.sum() < FEWEST_TO_MODERATE:
        return given
    own = given.freedom[usable]
    # Errors of means over different numbers of groups are compared per group.
    scale = own + 1
    variance = given.error[usable] ** 2 * scale
    prior, common = _prior(variance, own)
    if np.isinf(prior):
        mixed, total = np.full_like(variance, common), np.full_like(own, np.inf)
    else:
        mixed = (prior * common + own * variance) / (prior + own)
        total = prior + own
    error, freedom = given.error.copy(), given.freedom.copy()
    # No more freedom than all tests together have.
    freedom[usable] = np.minimum(total, own.sum())
    error[usable] = np.sqrt(mixed / scale)
    return replace(given, error=error, freedom=freedom)


def _prior(variance: Array, freedom: Array) -> tuple[float, float]:
    """ν₀ (infinite where the variances differ no more than chance) and s₀²."""
    from scipy.special import digamma, polygamma

    e = np.log(variance) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(e.var(ddof=1) - polygamma(1, freedom / 2).mean())
    if excess <= 0:
        return np.inf, float(np.exp(e.mean()))
    prior = 2 * _inverse_trigamma(excess)
    return prior, float(np.exp(e.mean() + digamma(prior / 2) - np.log(prior / 2)))


def _inverse_trigamma(value: float) -> float:
    """Newton's method on 1 / trigamma, which is convex (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x
