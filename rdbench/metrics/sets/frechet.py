"""Fréchet distance between Gaussians, and its extrapolation to sets without end.

The distance between N(μ₁, Σ₁) and N(μ₂, Σ₂) (Dowson and Landau, Journal of Multivariate Analysis
12, 1982: the squared 2-Wasserstein distance) is

    d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁ Σ₂)^½

and tr (Σ₁ Σ₂)^½ is the sum of the singular values of Σ₁^½ Σ₂^½. All of it is float64. Covariances
are not regularized: eigenvalues within rounding of zero count as zero, so that sets with fewer
windows than dimensions have a distance too. Moments (n, mean, scatter about the mean) add up over
groups of clips without loss; Σ = scatter / (n - 1).

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


@dataclass(frozen=True)
class Moments:
    """What a Gaussian needs of some windows.

    count: of windows. mean: float64 (dimensions,). scatter: Σ (f - mean)(f - mean)ᵀ, float64
    (dimensions, dimensions).
    """

    count: int
    mean: Array
    scatter: Array

    @classmethod
    def of(cls, features: Sequence[Features]) -> Moments:
        """Of features (windows, dimensions) of some clips."""
        import numpy as np

        windows = np.concatenate(features).astype(np.float64)
        mean = windows.mean(axis=0) if len(windows) else np.zeros(windows.shape[1])
        centred = windows - mean
        return cls(len(windows), mean, centred.T @ centred)


class _Set:
    """Groups of one side, to be weighted: their moments about one common centre."""

    def __init__(self, groups: Sequence[Moments]) -> None:
        import numpy as np

        self._counts = np.array([group.count for group in groups], dtype=np.float64)
        means = np.stack([group.mean for group in groups])
        self._centre = np.average(means, axis=0, weights=self._counts) if self._counts.any() else 0
        self._offsets = means - self._centre
        between = self._counts[:, None, None] * self._offsets[:, :, None] * self._offsets[:, None]
        scatters = np.stack([group.scatter for group in groups]) + between
        self._scatters = scatters.reshape(len(groups), -1)

    def gaussians(self, weights: Array) -> tuple[Array, Array]:
        """Mean (resamples, d) and covariance (resamples, d, d); NaN under two windows."""
        import numpy as np

        counts = weights @ self._counts
        counts = np.where(counts > 1, counts, np.nan)[:, None]
        shift = (weights * self._counts) @ self._offsets / counts
        second = (weights @ self._scatters / counts).reshape(len(weights), *2 * shift.shape[1:])
        covariance = second - shift[:, :, None] * shift[:, None]
        return self._centre + shift, covariance * (counts / (counts - 1))[:, :, None]


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
        return [Moments(statistics.count, statistics.mean, statistics.scatter)]

    def distance(
        self, *, reference: Sequence[Moments], reconstruction: Sequence[Moments]
    ) -> Distance:
        """The distance under weights of groups; of a fixed reference, whose own are all 1."""
        import numpy as np

        first, second = _Set(reference), _Set(reconstruction)
        whole = first.gaussians(np.ones((1, len(reference))))
        fixed = self.fixed_reference

        def values(weights: Array) -> Array:
            other = second.gaussians(weights)
            if not fixed:
                return frechet(first.gaussians(weights), other)
            repeated = [np.repeat(part, len(weights), axis=0) for part in whole]
            return frechet((repeated[0], repeated[1]), other)

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


def frechet(first: tuple[Array, Array], second: tuple[Array, Array]) -> Array:
    """d² of pairs of Gaussians.

    Each is means float64 (pairs, d) and covariances (pairs, d, d); (pairs,), NaN where one of the
    two is not finite.
    """
    import numpy as np

    (mean, covariance), (other_mean, other_covariance) = first, second
    distances = np.full(len(mean), np.nan)
    usable = np.isfinite(covariance).all((1, 2)) & np.isfinite(other_covariance).all((1, 2))
    roots = _root(covariance[usable]) @ _root(other_covariance[usable])
    shared = np.linalg.svd(roots, compute_uv=False).sum(-1)
    spread = np.trace(covariance + other_covariance, axis1=1, axis2=2)[usable]
    means = np.square(mean - other_mean).sum(-1)[usable]
    distances[usable] = np.maximum(means + spread - 2 * shared, 0.0)
    return distances


def _root(covariance: Array) -> Array:
    """Symmetric roots; eigenvalues within rounding of zero are zero, lest their roots count."""
    import numpy as np

    values, vectors = np.linalg.eigh(covariance)
    rounding = values[:, -1:] * values.shape[-1] * np.finfo(np.float64).eps
    kept = np.where(values > rounding, values, 0.0)
    root: Array = (vectors * np.sqrt(kept)[:, None]) @ vectors.swapaxes(1, 2)
    return root
