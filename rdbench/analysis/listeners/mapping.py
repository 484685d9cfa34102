"""A third-order polynomial that never falls: from a metric's values to listeners' scores.

Metrics have scales of their own, and listeners use theirs as a test invites them to, so that
metrics are judged by how far they are off after the best cubic without a turn within the range of
the data (ITU-T P.1401, 7.3 and 7.5.2, third order, monotonic):

    f(t) = c + ∫₀ᵗ q,   q(t) ≥ 0 for t in 0 … 1,   t = (x - min x) / (max x - min x)

A quadratic q that is nowhere negative on 0 … 1 is a sum of squares (t - r)², r in 0 … 1, and of
t (1 - t), with weights that are not negative (Markov and Lukács). So f is found by least squares
with such weights over a grid of r, which has one solution and needs no start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

COEFFICIENTS = 4
"""What the mapping takes from the data: residuals have so many degrees of freedom less."""
_ROOTS = np.linspace(0.0, 1.0, 33)


@dataclass(frozen=True)
class Cubic:
    """A cubic over low … high; coefficients of 1, t, t², t³, float64 (4,)."""

    low: float
    high: float
    coefficients: Array

    def __call__(self, values: Array) -> Array:
        """The scores of values, which are held to the range that it was fitted on."""
        return _powers(_scaled(values, self.low, self.high)) @ self.coefficients


def monotone_cubic(values: Array, scores: Array, weights: Array | None = None) -> Cubic:
    """The cubic without a fall that is nearest to the scores in least squares.

    values, scores: (pairs,), finite. weights: (pairs,), how often each pair counts, at least 0.
    """
    from scipy.optimize import nnls

    low, high = float(values.min()), float(values.max())
    design = _powers(_scaled(values, low, high))
    if weights is not None:
        root = np.sqrt(weights)
        design, scores = design * root[:, None], scores * root
    # All cubics lie in four dimensions, whatever the number of pairs.
    basis, triangle = np.linalg.qr(design)
    rising = _rising()
    found, _ = nnls(triangle @ rising, basis.T @ scores)
    return Cubic(low, high, rising @ found)


def _scaled(values: Array, low: float, high: float) -> Array:
    span = high - low
    scaled: Array = np.clip((values - low) / span, 0.0, 1.0) if span > 0 else np.zeros(len(values))
    return scaled


def _powers(scaled: Array) -> Array:
    return np.stack([scaled**power for power in range(COEFFICIENTS)], axis=1)


def _rising() -> Array:
    """Coefficients of what f is made of, (4, parts): a constant of either sign, and integrals."""
    squares = [(0.0, r * r, -r, 1 / 3) for r in _ROOTS]
    parts = [(1.0, 0.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1 / 2, -1 / 3), *squares]
    return np.array(parts).T
