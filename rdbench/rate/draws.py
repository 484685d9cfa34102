"""Latents drawn from the Gaussian priors that were fitted: what each rung of the ladder knows.

White noise ε ~ N(0, I) is coloured as the prior says,

    N(0, I)             z = ε
    diagonal            z = m + s ε
    order 0 (full)      z_t = m + W⁻¹ ε_t
    autoregressive      z_t = m + Σ_k A_k (z_{t−k} − m) + W⁻¹ ε_t

with Wᵀ W = S⁻¹, and the first frames, which lack a past, as `rdbench.rate.linear` has them. All
priors colour the same ε, so that draws of two of them differ by what these know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdbench.rate.linear import LinearGaussian
from rdbench.rate.validate import PayloadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.prior import GaussianPrior

    Floats = NDArray[np.float64]

MOST_POWER = 100.0
"""Times the variance of the fitting frames: an autoregressive draw beyond that runs away."""


def coloured(prior: GaussianPrior | LinearGaussian | None, noise: Floats) -> Floats:
    """A draw of `prior` made of `noise`, float64 (channels, frames) both; None is N(0, I).

    Raises PayloadError for another channel count, and for a draw that grows without bound, as one
    does whose weights were fitted on too little.
    """
    if prior is None:
        return noise.copy()
    if len(noise) != len(prior.mean):
        raise PayloadError(
            f"the fitted prior has {len(prior.mean)} channels, the latent {len(noise)}; fit again "
            "with `rdbench fit-entropy`"
        )
    if isinstance(prior, LinearGaussian):
        return _filtered(prior, noise)
    found: Floats = prior.mean[:, None] + prior.scale[:, None] * noise
    return found


def _filtered(prior: LinearGaussian, noise: Floats) -> Floats:
    order = min(prior.order, noise.shape[1])
    away = np.linalg.solve(prior.whitening, noise)
    away[:, :order] = np.linalg.solve(prior.first, noise[:, :order])
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(order, noise.shape[1]):
            for k, weights in enumerate(prior.weights, start=1):
                away[:, t] += weights @ away[:, t - k]
        power = np.square(prior.first @ away).mean()
    if not power <= MOST_POWER:
        raise PayloadError(
            f"a draw of the {prior.title} grows without bound; fit again on more clips with "
            "`rdbench fit-entropy`"
        )
    found: Floats = prior.mean[:, None] + away
    return found
