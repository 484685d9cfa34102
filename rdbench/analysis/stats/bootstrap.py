"""Ratios of sums over clips under a bootstrap over their groups (`rdbench.resampling`).

Clips of one group (a speaker, a session) are not independent, so whole groups are drawn. With g
groups, numerators n_i and denominators d_i summed per group, and the number w_i of times that
group i was drawn (Σ w_i = g),

    θ = Σ n_i / Σ d_i          θ* = Σ w_i n_i / Σ w_i d_i

The weights are drawn once and serve every system, so that the difference of two replicates with
one index is a paired replicate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

ONE_GROUP = "one group of clips: no interval"
NO_VARIATION = "no variation between groups"
PERCENTILE = "percentile interval: BCa is undefined here"


def replicates(numerators: Array, denominators: Array, weights: Array) -> Array:
    """Σ w·n / Σ w·d, (estimates, resamples); NaN where a resample has no denominator.

    numerators, denominators: sums per group (estimates, groups), 0 for a group that has nothing
    to say. weights: (resamples, groups). Two estimates under one `weights` are paired.
    """
    return ratio(numerators @ weights.T, denominators @ weights.T)


def ratio(numerators: Array, denominators: Array) -> Array:
    """Elementwise ratio, NaN where the denominator is not above zero."""
    empty = denominators <= 0
    result: Array = np.where(empty, np.nan, numerators / np.where(empty, 1.0, denominators))
    return result
