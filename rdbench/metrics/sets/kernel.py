"""Kernel distance of two sets: the maximum mean discrepancy of their features, squared.

Kernel audio distance (Chung et al., "KAD: No more FAD! An effective and efficient evaluation metric
for audio generation", ICML 2025, arXiv 2502.15602) is the unbiased estimate of the squared MMD
(Gretton et al., A kernel two-sample test, Journal of Machine Learning Research 13, 2012)

    100 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)),   k(a, b) = exp(-|a - b|² / (2 σ²))

with references x, reconstructions y, and σ the median distance between references, all of it in
float64. No Gaussian is assumed, and the estimate is not biased by the size of a set.

The estimate is unbiased where windows are independent. Those of one clip, or of one speaker, are
not, and neither are a reference and its own reconstruction. So each mean is over windows of two
different groups of clips (for pairs, Gretton's eq. 4 with groups for samples; references without a
reconstruction, a larger set, are compared with all windows). With every window a group by itself
this is the published estimate, but for pairs (x, y) of one window. It may lie below zero; that of
the references themselves is 0.

Of each clip at most 32 windows count, spread evenly: the cost grows with their square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.metrics.base import Distance
from rdbench.metrics.sets.embedding import Comparison

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.metrics.sets.embedding import Features
    from rdbench.metrics.sets.saved import Saved

    Array = npt.NDArray[np.float64]

SCALE = 100.0
MOST_WINDOWS = 32
_MEDIAN_OF = 2000  # windows between which the median distance is taken
_CELLS = 2**24  # pairs of windows that are held at once


class Kernel(Comparison):
    """The kernel distance of features."""

    name = "kernel"
    title = "Kernel distance"
    what = "100 × the squared maximum mean discrepancy, under a Gaussian kernel as wide as the "
    what += "median distance between references, of"
    lower = -float("inf")
    citation = (
        "Chung et al., KAD: No more FAD!, ICML 2025, arXiv 2502.15602; Gretton et al., A kernel "
        "two-sample test, JMLR 13, 2012"
    )
    fewest_clips = 10
    tolerance = 1e-6

    def summary(self, features: Sequence[Features]) -> Array:
        """The windows of a group that count, float64 (windows, dimensions)."""
        import numpy as np

        return np.concatenate([_spread_out(one.astype(np.float64)) for one in features])

    def saved(self, statistics: Saved) -> Sequence[Array]:
        """The windows that were kept, by clip."""
        return statistics.groups

    def distance(self, *, reference: Sequence[Array], reconstruction: Sequence[Array]) -> Distance:
        """The distance under weights of groups; NaN with fewer than two of them."""
        import numpy as np

        width = median_distance(np.concatenate(reference))
        sums = [
            kernel_sums(first, second, width)
            for first, second in (
                (reference, reference),
                (reconstruction, reconstruction),
                (reference, reconstruction),
            )
        ]
        mean = _fixed_means if self.fixed_reference else _paired_means

        def values(weights: Array) -> Array:
            own, other, shared = mean(sums, reference, reconstruction, weights)
            return SCALE * (own + other - 2 * shared)

        return values


def kernel_distance(*, reference: Sequence[Features], reconstruction: Sequence[Features]) -> float:
    """`kernel_…`: 100 × the squared MMD of two sets of clips, each of which is a group.

    reference, reconstruction: features of each clip (windows, dimensions), in one order. NaN with
    fewer than two clips.
    """
    return Kernel().of_clips(reference=reference, reconstruction=reconstruction)


def median_distance(windows: Array) -> float:
    """The median distance between windows (windows, dimensions): of at most 2000, spread evenly.

    Where it is zero (most are the same), the kernel has no width: 1.
    """
    import numpy as np
    from scipy.spatial.distance import pdist

    found = pdist(_spread_out(windows, _MEDIAN_OF))
    middle = float(np.median(found)) if len(found) else 0.0
    return middle or 1.0


def kernel_sums(first: Sequence[Array], second: Sequence[Array], width: float) -> Array:
    """Sums of k over all pairs of windows of two groups, float64 (groups, groups).

    first, second: windows (windows, dimensions) of each group. width: σ.
    """
    import numpy as np

    rows, columns = np.concatenate(first), np.concatenate(second)
    starts = np.cumsum([0, *map(len, second)])[:-1]
    norms = np.square(columns).sum(axis=1)
    sums = np.zeros((len(first), len(second)))
    step = max(1, _CELLS // max(1, len(columns)))
    owner = np.repeat(np.arange(len(first)), [len(one) for one in first])
    filled = np.array([len(one) > 0 for one in second])
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        apart = np.square(part).sum(axis=1)[:, None] + norms - 2 * part @ columns.T
        kernel = np.exp(-np.maximum(apart, 0.0) / (2 * width**2))
        by_group = np.zeros((len(part), len(second)))
        by_group[:, filled] = np.add.reduceat(kernel, starts[filled], axis=1)
        np.add.at(sums, owner[start : start + step], by_group)
    return sums


def _paired_means(
    sums: Sequence[Array], reference: Sequence[Array], reconstruction: Sequence[Array],
    weights: Array,
) -> list[Array]:  # fmt: skip
    """Means of k within references, within reconstructions and between, over different groups."""
    import numpy as np

    sizes = [np.array([len(one) for one in side], dtype=float)
             for side in (reference, reconstruction)]  # fmt: skip
    pairs = ((0, 0), (1, 1), (0, 1))
    means = []
    for total, (one, other) in zip(sums, pairs, strict=True):
        count = np.outer(sizes[one], sizes[other])
        apart = 1 - np.eye(len(total))
        means.append(_ratio(_form(weights, total * apart), _form(weights, count * apart)))
    return means


def _fixed_means(
    sums: Sequence[Array], reference: Sequence[Array], reconstruction: Sequence[Array],
    weights: Array,
) -> list[Array]:  # fmt: skip
    """The same where references are another set: each group of theirs counts once."""
    import numpy as np

    sizes = [np.array([len(one) for one in side], dtype=float)
             for side in (reference, reconstruction)]  # fmt: skip
    ones = np.ones((1, len(reference)))
    apart = [1 - np.eye(len(side)) for side in sizes]
    counts = [np.outer(side, side) * other for side, other in zip(sizes, apart, strict=True)]
    own = _ratio(_form(ones, sums[0] * apart[0]), _form(ones, counts[0]))
    other = _ratio(_form(weights, sums[1] * apart[1]), _form(weights, counts[1]))
    between = _ratio(weights @ sums[2].sum(axis=0), sizes[0].sum() * (weights @ sizes[1]))
    return [np.repeat(own, len(weights)), other, between]


def _form(weights: Array, matrix: Array) -> Array:
    """wᵀ M w of each row w, (resamples,)."""
    result: Array = ((weights @ matrix) * weights).sum(axis=1)
    return result


def _ratio(total: Array, count: Array) -> Array:
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        result: Array = np.where(count > 0, total / count, np.nan)
    return result


def _spread_out(windows: Array, most: int = MOST_WINDOWS) -> Array:
    """At most so many of the windows, evenly from the first to the last."""
    import numpy as np

    if len(windows) <= most:
        return windows
    kept: Array = windows[np.linspace(0, len(windows) - 1, most).round().astype(int)]
    return kept
