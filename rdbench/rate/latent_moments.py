"""What the latents of other clips look like: moments, quantiles and KL per channel.

Fitted on training clips, for what puts something in a channel's place (its mean, a draw of its
distribution), adds noise of its size, or projects a latent into the range of samples:

    m = E[μ]        s² = Var[μ] + E[σ²]        C = Cov[μ] + diag(E[σ²])

A latent without a posterior has σ = 0, and no KL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.rate.validate import PayloadError, check_posterior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.types import Posterior

    Floats = NDArray[np.float64]

RANGE = (0.001, 0.999)
"""The quantiles of samples between which a latent is within range."""
_SEED = 0


@dataclass(frozen=True, eq=False)
class LatentMoments:
    """Float64, (channels,) each but `covariance`, which is (channels, channels).

    mean: m. spread: the standard deviation of μ. noise: √E[σ²]. kl: from N(0, I), nats per frame;
    None for a latent without a posterior. low, high: `RANGE` of samples μ + σ ε. covariance: C.
    """

    mean: Floats
    spread: Floats
    noise: Floats
    kl: Floats | None
    low: Floats
    high: Floats
    covariance: Floats

    @property
    def scale(self) -> Floats:
        """s, the standard deviation of samples."""
        found: Floats = np.hypot(self.spread, self.noise)
        return found

    @cached_property
    def digest(self) -> str:
        """Names the numbers: SHA-256 (hex) over all of them."""
        parts = [np.empty(0) if part is None else part.ravel() for part in self._parts.values()]
        return hashlib.sha256(np.concatenate(parts).astype("<f8").tobytes()).hexdigest()

    @classmethod
    def fit(cls, posteriors: Sequence[Posterior]) -> LatentMoments:
        """Over the valid frames of `posteriors`; raises PayloadError for fewer than two frames."""
        from rdbench.rate.prior import Moments

        sums = Moments.of(posteriors)
        spread, noise = sums.spread, np.nan_to_num(sums.noise)
        covariance = np.zeros((len(spread), len(spread)))
        kl = np.zeros(len(spread))
        for mean, scale in _rows(posteriors):
            centred = mean - sums.centre
            covariance += centred.T @ centred
            if scale is not None:
                variance = np.square(scale)
                kl += 0.5 * (variance + np.square(mean) - 1 - np.log(variance)).sum(axis=0)
        covariance /= sums.frames
        np.fill_diagonal(covariance, np.square(spread) + np.square(noise))
        without = any(posterior.scale is None for posterior in posteriors)
        low, high = _range(posteriors)
        return cls(
            sums.centre, spread, noise, None if without else kl / sums.frames, low, high, covariance
        )

    def as_json(self) -> dict[str, Any]:
        """Its numbers by name."""
        return {name: None if part is None else part.tolist() for name, part in self._parts.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LatentMoments:
        """What `as_json` gave; raises PayloadError for numbers that no latent has."""
        parts: dict[str, Any] = {
            name: None if content[name] is None else np.array(content[name], np.float64)
            for name in cls.__dataclass_fields__
        }
        found = cls(**parts)
        channels = len(found.mean)
        for name, part in found._parts.items():
            shape = (channels,) * (2 if name == "covariance" else 1)
            if part is None and name == "kl":
                continue
            if part is None or part.shape != shape or not np.isfinite(part).all():
                raise PayloadError(f"the fitted moments of a latent have an impossible {name}")
        if (found.spread < 0).any() or (found.noise < 0).any() or (found.low > found.high).any():
            raise PayloadError("the fitted moments of a latent contradict each other")
        return found

    @property
    def _parts(self) -> dict[str, Floats | None]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def _rows(posteriors: Sequence[Posterior]) -> Iterator[tuple[Floats, Floats | None]]:
    """Means and scales of the valid frames of each batch, (frames, channels)."""
    for posterior in posteriors:
        valid = check_posterior(posterior)
        mean, scale = (
            None if part is None else part.detach().cpu().double().transpose(1, 2)[valid].numpy()
            for part in (posterior.mean, posterior.scale)
        )
        assert mean is not None
        yield mean, scale


def _range(posteriors: Sequence[Posterior]) -> tuple[Floats, Floats]:
    """The quantiles of one sample of every frame."""
    generator = np.random.default_rng(_SEED)
    drawn = [
        (mean if scale is None else mean + scale * generator.standard_normal(mean.shape)).astype(
            np.float32
        )
        for mean, scale in _rows(posteriors)
    ]
    # Channel by channel: a quantile sorts a copy.
    found = [
        np.quantile(np.concatenate([clip[:, channel] for clip in drawn]), RANGE)
        for channel in range(drawn[0].shape[1])
    ]
    low, high = np.array(found, np.float64).T
    return low, high
