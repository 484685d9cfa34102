"""A factorised Gaussian prior, fitted on the posteriors of other clips.

Among all N(m, s²) of a channel, the one with the least mean KL from the posteriors N(μ, σ²) of the
fitting frames has their moments:

    m = E[μ]        s² = E[σ²] + Var[μ]

E_x KL(q(z|x) ‖ p) = I(x; z) + KL(q(z) ‖ p): a fitted prior takes away a part of the second term.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from rdbench.rate.validate import PayloadError, check_posterior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.types import Posterior


@dataclass
class Moments:
    """Running sums per channel, float64, over the valid frames of many clips.

    mean, square: Σ (μ − μ₀) and its squares, with μ₀ the first frame (`origin`), so that a large
    mean costs no digits. variance: Σ σ², NaN for a posterior without scale.
    """

    frames: int
    origin: NDArray[np.float64]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, posteriors: Iterable[Posterior]) -> Moments:
        """Sums over the frames of `posteriors`; raises PayloadError for none or bad ones."""
        total: Moments | None = None
        for posterior in posteriors:
            valid = check_posterior(posterior)
            means, variances = _rows(posterior, valid)
            if total is None:
                zero = np.zeros(means.shape[1])
                total = cls(0, means[0].copy(), zero, zero.copy(), zero.copy())
            centred = means - total.origin
            total.frames += len(means)
            total.mean = total.mean + centred.sum(axis=0)
            total.square = total.square + np.square(centred).sum(axis=0)
            total.variance = total.variance + variances
        if total is None or total.frames < 2:
            raise PayloadError("fitting needs two frames at least; fit on more or longer clips")
        return total

    @property
    def centre(self) -> NDArray[np.float64]:
        """E[μ] per channel."""
        return self.origin + self.mean / self.frames

    @property
    def spread(self) -> NDArray[np.float64]:
        """The standard deviation of μ per channel."""
        variance = self.square / self.frames - np.square(self.mean / self.frames)
        return np.sqrt(np.maximum(variance, 0.0))

    @property
    def noise(self) -> NDArray[np.float64]:
        """√E[σ²] per channel; NaN for a posterior without scale."""
        return np.sqrt(self.variance / self.frames)


@dataclass(frozen=True)
class GaussianPrior:
    """N(mean, scale²) per channel, float64 (channels,)."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    title = "Gaussian prior"
    """What rows call it."""

    @cached_property
    def digest(self) -> str:
        """Names the prior: SHA-256 over its means and scales."""
        numbers = np.concatenate([self.mean, self.scale]).astype("<f8")
        return hashlib.sha256(numbers.tobytes()).hexdigest()

    @classmethod
    def fit(cls, moments: Moments) -> GaussianPrior:
        """The prior of least mean KL; raises PayloadError for a latent without scale."""
        if not np.isfinite(moments.noise).all():
            raise PayloadError("a latent without a posterior scale has no KL, so no prior to fit")
        return cls(moments.centre, np.sqrt(np.square(moments.noise) + np.square(moments.spread)))

    def standardise(
        self, mean: torch.Tensor, scale: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Posterior mean and scale in units of the prior: (μ − m)/s and σ/s.

        mean, scale: (clips, channels, frames). Raises PayloadError for another channel count.
        """
        if mean.shape[1] != len(self.mean):
            raise PayloadError(
                f"the fitted prior has {len(self.mean)} channels, the posterior {mean.shape[1]}; "
                "fit again with `rdbench fit-entropy`"
            )
        centre = torch.from_numpy(self.mean)[:, None]
        spread = torch.from_numpy(self.scale)[:, None]
        return (mean - centre) / spread, scale / spread


def _rows(
    posterior: Posterior, valid: torch.Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means as float64 (frames, channels) of all clips, and Σ σ² per channel."""
    means = posterior.mean.detach().cpu().double().transpose(1, 2)[valid].numpy()
    if posterior.scale is None:
        return means, np.full(means.shape[1], np.nan)
    scales = posterior.scale.detach().cpu().double().transpose(1, 2)[valid]
    return means, scales.square().sum(dim=0).numpy()
