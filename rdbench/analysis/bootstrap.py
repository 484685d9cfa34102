"""Bootstrap intervals for ratios of sums, over groups of clips.

Every aggregate of rdbench is a ratio of two sums over clips: a mean score is Σ value / Σ 1, the
rate of a point is Σ bits / Σ seconds. Clips of one group (a speaker, a session) are not
independent, so whole groups are drawn. With g groups, numerators n_i and denominators d_i summed
per group, and the number w_i of times that group i was drawn (Σ w_i = g),

    θ = Σ n_i / Σ d_i          θ* = Σ w_i n_i / Σ w_i d_i

The weights are drawn once and serve every system, so that the difference of two replicates with
one index is a paired replicate.

The interval is BCa (bias-corrected and accelerated; Efron, "Better bootstrap confidence
intervals", JASA 82, 1987): the quantiles of θ* are taken at

    α' = Φ(z0 + (z0 + z_α) / (1 − a (z0 + z_α)))

with z0 = Φ⁻¹(share of θ* below θ, ties by half) and the acceleration
a = Σ u³ / (6 (Σ u²)^1.5), u the jackknife deviations mean(θ_(i)) − θ_(i) over groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Method = Literal["bca", "percentile"]

NO_CLIP = "no clip was scored"
ONE_GROUP = "one group of clips: no interval"
NO_VARIATION = "no variation between groups"
PERCENTILE = "percentile interval: BCa is undefined here"

# Replicates that differ by rounding alone do not vary.
ROUNDING = 1e-12
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


def resample_weights(groups: int, *, resamples: int = 2000, seed: int | list[int] = 0) -> Array:
    """How often each group is drawn in each resample, float64 (resamples, groups).

    Each row sums to `groups`. The same seed and number of groups give the same weights.
    """
    if groups < 1 or resamples < 1:
        raise ValueError("a bootstrap needs at least one group and one resample")
    drawn = np.random.default_rng(seed).integers(0, groups, (resamples, groups))
    cells = drawn + groups * np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=resamples * groups)
    return counts.reshape(resamples, groups).astype(np.float64)


def replicates(numerators: Array, denominators: Array, weights: Array) -> Array:
    """Σ w·n / Σ w·d, (estimates, resamples); NaN where a resample has no denominator.

    numerators, denominators: sums per group (estimates, groups), 0 for a group that has nothing
    to say. weights: (resamples, groups). Two estimates under one `weights` are paired.
    """
    return _ratio(numerators @ weights.T, denominators @ weights.T)


def ratio_intervals(
    numerators: Array,
    denominators: Array,
    weights: Array,
    *,
    confidence: float = 0.95,
    method: Method = "bca",
) -> Intervals:
    """Ratio estimates Σ n / Σ d and their intervals; shapes as in `replicates`.

    One group gives a NaN interval, no variation a degenerate one, each with a note. Where BCa is
    undefined (all replicates on one side of the estimate) the percentile interval is returned,
    and the note says so.
    """
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1")
    estimates, resamples = len(numerators), len(weights)
    low, high = np.full(estimates, np.nan), np.full(estimates, np.nan)
    notes: list[str] = []
    step = max(1, CHUNK // resamples)
    for start in range(0, estimates, step):
        part = slice(start, start + step)
        low[part], high[part], found = _intervals(
            numerators[part], denominators[part], weights, confidence, method
        )
        notes += found
    return Intervals(
        value=_ratio(numerators.sum(axis=1), denominators.sum(axis=1)),
        low=low,
        high=high,
        groups=(denominators > 0).sum(axis=1).astype(np.int64),
        notes=tuple(notes),
    )


def _intervals(
    numerators: Array, denominators: Array, weights: Array, confidence: float, method: Method
) -> tuple[Array, Array, list[str]]:
    value = _ratio(numerators.sum(axis=1), denominators.sum(axis=1))
    drawn = replicates(numerators, denominators, weights)
    drawn.sort(axis=1)  # NaN goes to the end
    valid = np.isfinite(drawn).sum(axis=1)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = np.tile(tails, (len(value), 1))
    fallback: npt.NDArray[np.bool_] = np.zeros(len(value), dtype=np.bool_)
    if method == "bca":
        corrected = _bca_levels(numerators, denominators, value, drawn, tails)
        fallback = np.isnan(corrected.sum(axis=1))
        levels = np.where(fallback[:, None], levels, corrected)
    ends = np.stack([_quantile(drawn, valid, levels[:, side]) for side in (0, 1)], axis=1)

    groups = (denominators > 0).sum(axis=1)
    spread = np.nanmax(drawn, axis=1, initial=-np.inf) - np.nanmin(drawn, axis=1, initial=np.inf)
    still = (groups > 1) & (spread <= ROUNDING * np.abs(value))
    ends[groups < 2] = np.nan
    ends[still] = value[still, None]
    notes = [
        _note(count, fixed, percentile)
        for count, fixed, percentile in zip(groups, still, fallback, strict=True)
    ]
    return ends[:, 0], ends[:, 1], notes


def _note(groups: int, still: bool, percentile: bool) -> str:
    if groups == 0:
        return NO_CLIP
    if groups == 1:
        return ONE_GROUP
    if still:
        return NO_VARIATION
    return PERCENTILE if percentile else ""


def _bca_levels(
    numerators: Array,
    denominators: Array,
    value: Array,
    drawn: Array,
    tails: Array,
) -> Array:
    """The corrected quantile levels, (estimates, 2); NaN where BCa is undefined."""
    from scipy.special import ndtr, ndtri

    left_out = _ratio(
        numerators.sum(axis=1, keepdims=True) - numerators,
        denominators.sum(axis=1, keepdims=True) - denominators,
    )
    deviation = left_out.mean(axis=1, keepdims=True) - left_out
    below = ((drawn < value[:, None]).sum(axis=1) + (drawn <= value[:, None]).sum(axis=1)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = (deviation**3).sum(axis=1) / (6 * (deviation**2).sum(axis=1) ** 1.5)
        bias = ndtri(below / np.isfinite(drawn).sum(axis=1))
        shifted = bias[:, None] + ndtri(tails)[None, :]
        stretch = 1 - acceleration[:, None] * shifted
        levels: Array = ndtr(bias[:, None] + shifted / stretch)
    defined = np.isfinite(bias)[:, None] & (stretch > 0)
    return np.where(defined, levels, np.nan)


def _quantile(ordered: Array, valid: npt.NDArray[np.int64], level: Array) -> Array:
    """Linear quantiles of each sorted row, of its first `valid` entries; level (rows,)."""
    last = np.maximum(valid - 1, 0)
    position = np.nan_to_num(level) * last
    lower = np.floor(position).astype(np.int64)
    upper = np.minimum(lower + 1, last)
    rows = np.arange(len(ordered))
    below, above = ordered[rows, lower], ordered[rows, upper]
    result: Array = below + (position - lower) * (above - below)
    return result


def _ratio(numerators: Array, denominators: Array) -> Array:
    empty = denominators <= 0
    result: Array = np.where(empty, np.nan, numerators / np.where(empty, 1.0, denominators))
    return result
