"""Makes measured rate–quality points into curves that have an inverse.

Quality should not fall as the rate rises, but means over few clips do. Points are put in order of
rate, and the qualities are replaced by the nearest ones that do not fall: isotonic regression,

    ŷ_i = max over j ≤ i of min over k ≥ i of mean(y_j … y_k)

(Robertson, Wright, Dykstra, Order Restricted Statistical Inference, 1988, theorem 1.4.4), which is
what pooling adjacent violators gives. A level stretch has no inverse, so the points of a pooled
block, and points of equal quality, become one point at the mean of their log rates. The caller
refuses a curve that this moves further than its uncertainty explains.

Arrays are (points, curves), as in `interpolation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

# Qualities that differ by less than this share of the curve's range are equal but for rounding.
LEVEL = 1e-9


def in_order(rate: Array, quality: Array) -> tuple[Array, Array]:
    """The points of each curve by ascending rate."""
    if (rate[1:] > rate[:-1]).all():
        return rate, quality
    order = np.argsort(rate, axis=0, kind="stable")
    return np.take_along_axis(rate, order, 0), np.take_along_axis(quality, order, 0)


def isotonic(values: Array) -> Array:
    """The non-falling values nearest to `values` in least squares, along the points."""
    falls = (values[1:] < values[:-1]).any(axis=0)
    if not falls.any():
        return values
    result = values.copy()
    result[:, falls] = _pooled(values[:, falls])
    return result


def rises(values: Array) -> Flags:
    """Whether each point lies above the one before it (the first always does)."""
    result = np.ones(values.shape, dtype=np.bool_)
    result[1:] = values[1:] - values[:-1] > LEVEL * (values[-1] - values[0])
    return result


def merged(values: Array, starts: Flags) -> Array:
    """The mean of each block; starts (points,): where a block begins. (blocks, curves)."""
    if starts.all():
        return values
    first = np.flatnonzero(starts)
    sizes = np.diff(np.append(first, len(starts)))
    result: Array = np.add.reduceat(values, first, axis=0) / sizes[:, None]
    return result


def _pooled(values: Array) -> Array:
    points = len(values)
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    result = np.full_like(values, -np.inf)
    for first in range(points):
        counts = np.arange(1, points - first + 1)[:, None]
        means = (sums[first + 1 :] - sums[first]) / counts
        # The lowest mean of a block from `first` to any place at or after the point.
        lowest = np.minimum.accumulate(means[::-1], axis=0)[::-1]
        result[first:] = np.maximum(result[first:], lowest)
    return result
