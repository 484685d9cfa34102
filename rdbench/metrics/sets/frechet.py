"""Fréchet distance between Gaussians, and its extrapolation to sets without end.

The distance between N(μ₁, Σ₁) and N(μ₂, Σ₂) (Dowson and Landau, Journal of Multivariate Analysis
12, 1982: the squared 2-Wasserstein distance) is

    d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁ Σ₂)^½

and tr (Σ₁ Σ₂)^½ is the sum of the singular values of F₁ F₂ᵀ for any factors with Fᵀ F = Σ (those of
F₁ F₂ᵀ, squared, are the eigenvalues of Σ₁ Σ₂). All of it is float64. Covariances are not
regularized, so that sets with fewer windows than dimensions have a distance too. Moments (n, mean,
a factor of the scatter about the mean) add up over groups of clips without loss;
Σ = scatter / (n - 1).

The factor is what makes the many weightings of an interval cheap: where a set has not many more
windows than dimensions, it is the centred windows themselves, each row under the root of its
weight, and nothing of d × d is ever made; otherwise it is the Cholesky factor of Σ, or, where Σ has
none, its symmetric root, in which eigenvalues within rounding of zero count as zero.

With features of a network this is the Fréchet audio distance (Kilgour et al., "Fréchet Audio
Distance: a reference-free metric for evaluating music enhancement algorithms", Interspeech 2019,
arXiv 1812.08466). It asks whether the reconstructions of a set sound like a set of originals, not
whether each is like its own: exchanging clips changes nothing.

Estimated from few windows it is biased upwards (covariances of finite samples differ by chance),
by more than its interval tells, so that values of sets of different size do not compare. The bias
falls as 1/N (Chong and Forsyth, "Effectively unbiased FID and Inception Score and where to find
them", CVPR 2020, arXiv 1911.07023; for audio Gui et al., "Adapting Frechet Audio Distance for
generative music evaluation", ICASSP 2024, arXiv 2311.01616). `Extrapolated` is the intercept of the
line over 1/N through the distances at two sizes, all groups and halves of them,

    d²∞ = 2 d²(N) - mean over halves of d²(N / 2),

for halves that are drawn by a seed, each with its complement, references and reconstructions alike.
It is no longer biased by what falls as 1/N, varies more, and may lie below zero. With fewer windows
than dimensions the bias falls more slowly than 1/N, and is not all removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.metrics.base import Distance
from rdbench.metrics.sets.embedding import Comparison

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.metrics.sets.embedding import Features
    from rdbench.metrics.sets.saved import Saved

    Array = npt.NDArray[np.float64]

SPLITS = 4
"""How often the groups are split into halves."""
_EPSILON = 2.0**-52
# Rows for each dimension up to which they are cheaper than d × d: a draw holds 63 % of the groups.
_MOST_ROWS = 1.5
_SMALLEST_PIVOT = 1e-10  # of Cholesky's, against the largest


@dataclass(frozen=True)
class Moments:
    """What a Gaussian needs of some windows.

    count: of windows. mean: float64 (dimensions,). factor: F with Fᵀ F = Σ (f - mean)(f - mean)ᵀ,
    float64 (rows, dimensions), with no more rows than windows or dimensions.
    """

    count: int
    mean: Array
    factor: Array

    @classmethod
    def of(cls, features: Sequence[Features]) -> Moments:
        """Of features (windows, dimensions) of some clips."""
        import numpy as np

        windows = np.concatenate(features).astype(np.float64)
        count, dimensions = windows.shape
        mean = windows.mean(axis=0) if count else np.zeros(dimensions)
        centred = windows - mean if count > 1 else windows[:0]
        if count > dimensions:
            triangle = np.linalg.qr(centred, mode="r")
            return cls(count, mean, np.asarray(triangle, np.float64))
        return cls(count, mean, centred)

    @classmethod
    def from_scatter(cls, count: int, mean: Array, scatter: Array) -> Moments:
        """Of sums that were kept: Σ (f - mean)(f - mean)ᵀ, float64 (dimensions, dimensions)."""
        return cls(count, mean, _factor(scatter))

    @property
    def scatter(self) -> Array:
        """Σ (f - mean)(f - mean)ᵀ."""
        found: Array = self.factor.T @ self.factor
        return found


@dataclass(frozen=True)
class _Gaussian:
    """mean: (dimensions,). factor: of the covariance, (rows, dimensions)."""

    mean: Array
    factor: Array


class _Set:
    """Groups of one side, to be weighted: their moments about one common centre."""

    def __init__(self, groups: Sequence[Moments]) -> None:
        import numpy as np

        self._counts = np.array([group.count for group in groups], dtype=np.float64)
        means = np.stack([group.mean for group in groups])
        self._centre = np.average(means, axis=0, weights=self._counts) if self._counts.any() else 0
        self._offsets = means - self._centre
        self._owner = np.repeat(np.arange(len(groups)), [len(group.factor) for group in groups])
        self._rows: Array | None = None
        if len(self._owner) + len(groups) <= _MOST_ROWS * means.shape[1]:
            self._rows = np.concatenate([group.factor for group in groups])
        else:
            # One by one into their place: all of them are the largest thing here.
            dimensions = means.shape[1]
            scatters = np.empty((len(groups), dimensions, dimensions))
            for place, group in enumerate(groups):
                offset = self._offsets[place]
                scatters[place] = group.scatter + group.count * np.outer(offset, offset)
            self._scatters = scatters.reshape(len(groups), -1)

    def gaussian(self, weights: Array) -> _Gaussian | None:
        """That of the groups under one weighting (groups,); None under two windows."""
        import numpy as np

        counts = weights * self._counts
        total = counts.sum()
        if total <= 1:
            return None
        shift = counts @ self._offsets / total
        if self._rows is None:
            second = (weights @ self._scatters).reshape(2 * shift.shape)
            covariance = (second - total * np.outer(shift, shift)) / (total - 1)
            return _Gaussian(self._centre + shift, _factor(covariance))
        within, there = weights[self._owner], counts > 0
        factor = np.concatenate(
            [
                np.sqrt(within[within > 0])[:, None] * self._rows[within > 0],
                np.sqrt(counts[there])[:, None] * (self._offsets[there] - shift),
            ]
        )
        return _Gaussian(self._centre + shift, factor / np.sqrt(total - 1))


class Frechet(Comparison):
    """The Fréchet distance of features."""

    name = "frechet"
    title = "Fréchet distance"
    what = "Fréchet distance between Gaussians of"
    squared = True
    citation = (
        "Dowson and Landau, J. Multivariate Analysis 12, 1982; Kilgour et al., Fréchet Audio "
        "Distance, Interspeech 2019, arXiv 1812.08466"
    )
    fewest_clips = 20
    tolerance = 1e-6

    def summary(self, features: Sequence[Features]) -> Moments:
        """The moments of a group's windows."""
        return Moments.of(features)

    def saved(self, statistics: Saved) -> Sequence[Moments]:
        """The moments of all windows."""
        return [
            Moments.from_scatter(statistics.count, statistics.mean, statistics.scatter),
        ]

    def distance(
        self, *, reference: Sequence[Moments], reconstruction: Sequence[Moments]
    ) -> Distance:
        """The distance under weights of groups; of a fixed reference, whose own are all 1."""
        import numpy as np

        first, second = _Set(reference), _Set(reconstruction)
        fixed = first.gaussian(np.ones(len(reference))) if self.fixed_reference else None

        def values(weights: Array) -> Array:
            return np.array(
                [_between(fixed or first.gaussian(w), second.gaussian(w)) for w in weights]
            )

        return values


class Extrapolated(Frechet):
    """The Fréchet distance where 1/N is 0."""

    name = "frechet_inf"
    title = "Fréchet, extrapolated"
    what = "Fréchet distance, extrapolated over 1/N to no bias, between Gaussians of"
    lower = -float("inf")
    citation = (
        "Chong and Forsyth, CVPR 2020, arXiv 1911.07023; Gui et al., Adapting Frechet Audio "
        "Distance for generative music evaluation, ICASSP 2024, arXiv 2311.01616"
    )
    fewest_clips = 24

    def distance(
        self, *, reference: Sequence[Moments], reconstruction: Sequence[Moments]
    ) -> Distance:
        """The intercept under weights of groups."""
        import numpy as np

        plain = super().distance(reference=reference, reconstruction=reconstruction)
        halves = _halves(len(reconstruction))
        counts = np.array([group.count for group in reconstruction], float)

        def values(weights: Array) -> Array:
            whole, total = plain(weights), weights @ counts
            half = np.mean([plain(weights * chosen) for chosen in halves], axis=0)
            # Halves of groups are no halves of windows: 1/N of each is what it is.
            with np.errstate(divide="ignore", invalid="ignore"):
                inverse = [total / ((weights * chosen) @ counts) for chosen in halves]
                found: Array = whole + (whole - half) / (np.mean(inverse, axis=0) - 1)
            return found

        return values


def _halves(groups: int) -> Array:
    """Halves of groups, float64 (halves, groups) of 0 and 1, each followed by its complement."""
    import numpy as np

    generator = np.random.default_rng(groups)
    chosen = np.zeros((2 * SPLITS, groups))
    for split in range(SPLITS):
        chosen[2 * split, generator.permutation(groups)[: groups // 2]] = 1
        chosen[2 * split + 1] = 1 - chosen[2 * split]
    return chosen


def frechet_distance(*, reference: Sequence[Features], reconstruction: Sequence[Features]) -> float:
    """`frechet_…`: d² of two sets of clips, in the square of the features' unit.

    reference, reconstruction: features of each clip (windows, dimensions), in one order. NaN under
    two windows.

    >>> import numpy as np
    >>> clips = np.random.default_rng(0).standard_normal((9, 5, 4))
    >>> round(frechet_distance(reference=clips, reconstruction=clips + 1), 9)
    4.0
    """
    return Frechet().of_clips(reference=reference, reconstruction=reconstruction)


def extrapolated_distance(
    *, reference: Sequence[Features], reconstruction: Sequence[Features]
) -> float:
    """`frechet_inf_…`: d²∞ of two sets of clips, as `frechet_distance`; each clip is a group."""
    return Extrapolated().of_clips(reference=reference, reconstruction=reconstruction)


def gaussian_distance(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    """d² of two Gaussians, each a mean (dimensions,) and a covariance (dimensions, dimensions)."""
    sides = (_Gaussian(mean, _factor(covariance)) for mean, covariance in (first, second))
    return _between(*sides)


def _between(first: _Gaussian | None, second: _Gaussian | None) -> float:
    """NaN where one of the two is none, or not finite."""
    import numpy as np

    if first is None or second is None:
        return math.nan
    spread = np.square(first.factor).sum() + np.square(second.factor).sum()
    means = np.square(first.mean - second.mean).sum()
    if not math.isfinite(spread + means):
        return math.nan
    shared = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    apart = spread - 2 * shared
    # What is within rounding of zero is zero: a set has none from itself.
    return float(means + (apart if apart > len(first.mean) * _EPSILON * spread else 0.0))


def _factor(covariance: Array) -> Array:
    """F with Fᵀ F = covariance, float64 (dimensions, dimensions); NaN where that is not finite."""
    import numpy as np

    if not np.isfinite(covariance).all():
        return np.full_like(covariance, np.nan)
    try:
        lower = np.linalg.cholesky(covariance)
        pivots = np.square(np.diagonal(lower))
        if pivots.min() > _SMALLEST_PIVOT * pivots.max():
            return np.asarray(lower.T, np.float64)
    except np.linalg.LinAlgError:
        pass
    # Near a singular matrix rounding has roots of its own, which must not count.
    values, vectors = np.linalg.eigh(covariance)
    rounding = values[-1] * len(values) * _EPSILON
    kept = np.where(values > rounding, values, 0.0)
    return (vectors * np.sqrt(kept)).T
