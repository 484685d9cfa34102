"""Gaussian priors that know how channels, and frames, go together: rungs above the factorised one.

A frame z_t of D channels is predicted from `order` frames before it, as they were sampled,

    z_t | past ~ N(m + Σ_k A_k (z_{t−k} − m), S),

with full A_k and S. Order 0 is the Gaussian of full covariance; the first frames of a clip, which
lack a past, have that of S = `first` in any order. z_t and its past are independent given the
audio, so the divergence of a posterior N(μ, diag σ²) is closed, P being S⁻¹ and e_t the error that
the means make:

    KL_t = ½ (e_tᵀ P e_t + Σ_c P_cc σ²_tc + Σ_k Σ_c (A_kᵀ P A_k)_cc σ²_{t−k,c}
              + ln|S| − D − Σ_c ln σ²_tc)

A and S are fitted by least squares to E z zᵀ over posteriors, with a ridge on A and a share by
which S leans to its diagonal: those of the least KL on a fifth of the clips, held out.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.rate.validate import PayloadError, check_posterior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.prior import Moments
    from rdbench.types import Posterior

    Floats = NDArray[np.float64]
    Clip = tuple[Floats, Floats]
    """Means less m and variances of one clip, (frames, channels) each."""

ORDER = 4
"""How many frames an autoregressive prior looks back."""
MOST_CHANNELS = 512
"""Wider latents have no such prior: fitting would want gigabytes."""
_RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e6)
_LEANS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class LinearGaussian:
    """What the module says, float64 of single precision.

    mean: m, (channels,). weights: A_1, A_2, …, (order, channels, channels). whitening, first:
    lower triangular (channels, channels), WᵀW = S⁻¹, of frames with and without a whole past.
    """

    mean: Floats
    weights: Floats
    whitening: Floats
    first: Floats

    @classmethod
    def fit(
        cls, posteriors: Sequence[Posterior], moments: Moments, order: int
    ) -> LinearGaussian | None:
        """The prior fitted on the posteriors of other clips; moments: of the same.

        None where there are too few frames, or more than MOST_CHANNELS. Raises PayloadError for a
        latent without scale.
        """
        if not np.isfinite(moments.noise).all():
            raise PayloadError("a latent without a posterior scale has no KL, so no prior to fit")
        mean = moments.centre.astype(np.float32).astype(np.float64)
        clips = _centred(posteriors, mean)
        if len(clips) == 1:  # held-out frames are then its end
            cut = len(clips[0][0]) * 4 // 5
            clips = [
                (x[part], v[part]) for x, v in clips for part in (slice(cut), slice(cut, None))
            ]
        if len(mean) > MOST_CHANNELS or min(_count(p, order) for p in _split(clips)) < 1:
            return None
        weights, whitening = _fit(clips, order)
        first = _fit(clips, 0)[1] if order else whitening
        return cls(mean, *(_single(a) for a in (weights, whitening, first)))

    @property
    def order(self) -> int:
        """How many frames it looks back."""
        return len(self.weights)

    @property
    def title(self) -> str:
        """What rows call it."""
        return f"AR({self.order}) Gaussian" if self.order else "full-covariance Gaussian"

    @cached_property
    def digest(self) -> str:
        """Names the prior: SHA-256 over its numbers."""
        return hashlib.sha256(f"{self.weights.shape}".encode() + self._bytes).hexdigest()

    def kl_bits(self, posterior: Posterior, names: Sequence[str] | None = None) -> list[Floats]:
        """KL of each clip in bits, (frames,) each; raises CodecError as `kl.kl_bits` does.

        Raises PayloadError for another channel count.
        """
        if posterior.scale is None:
            raise PayloadError("the posterior has no scale, so its KL to a prior is undefined")
        if posterior.mean.shape[1] != len(self.mean):
            raise PayloadError(
                f"the fitted prior has {len(self.mean)} channels, the posterior "
                f"{posterior.mean.shape[1]}; fit again with `rdbench fit-entropy`"
            )
        check_posterior(posterior, names)
        return [self._nats(*clip) / math.log(2.0) for clip in _centred([posterior], self.mean)]

    def _nats(self, mean: Floats, variance: Floats) -> Floats:
        frames = len(mean)
        order = min(self.order, frames)
        error, noise = mean[order:].copy(), np.zeros(frames - order)
        for k, a in enumerate(self.weights[:order], start=1):
            past = slice(order - k, frames - k)
            error -= mean[past] @ a.T
            noise += variance[past] @ np.square(self.whitening @ a).sum(axis=0)
        crossed = np.concatenate(
            [
                _crossed(self.first, mean[:order], variance[:order]),
                _crossed(self.whitening, error, variance[order:]) + noise,
            ]
        )
        nats: Floats = 0.5 * (crossed - mean.shape[1] - np.log(variance).sum(axis=1))
        return nats

    def as_json(self) -> dict[str, Any]:
        """Its sizes, and its numbers as base64 of little-endian float32."""
        return {
            "channels": len(self.mean),
            "order": self.order,
            "float32": base64.b64encode(self._bytes).decode("ascii"),
        }

    @classmethod
    def from_json(cls, content: Any) -> LinearGaussian:
        """What `as_json` gave; raises ValueError, KeyError or TypeError for anything else."""
        size, order = int(content["channels"]), int(content["order"])
        numbers = np.frombuffer(base64.b64decode(content["float32"], validate=True), "<f4")
        if not (0 < size <= MOST_CHANNELS and 0 <= order <= ORDER):
            raise ValueError("impossible sizes")
        if len(numbers) != size + (order + 2) * size * size or not np.isfinite(numbers).all():
            raise ValueError("impossible numbers")
        mean, rest = numbers[:size].astype(np.float64), numbers[size:].astype(np.float64)
        matrices = rest.reshape(order + 2, size, size)
        found = cls(mean, matrices[:order], matrices[order], matrices[order + 1])
        if not all((np.diagonal(w) > 0).all() for w in (found.whitening, found.first)):
            raise ValueError("an impossible covariance")
        return found

    @property
    def _bytes(self) -> bytes:
        parts = (self.mean, self.weights, self.whitening, self.first)
        return np.concatenate([part.ravel() for part in parts]).astype("<f4").tobytes()


def _centred(posteriors: Sequence[Posterior], mean: Floats) -> list[Clip]:
    """Every clip of posteriors that were checked."""
    clips = []
    for posterior in posteriors:
        assert posterior.scale is not None
        for index, frames in enumerate(posterior.frames.tolist()):
            mu, sigma = (
                values[index, :, :frames].detach().cpu().double().T.numpy()
                for values in (posterior.mean, posterior.scale)
            )
            clips.append((mu - mean, np.square(sigma)))
    return clips


def _split(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """The clips to fit on, and every fifth (the last, of fewer) to choose by."""
    held = range(4, len(clips), 5) if len(clips) > 4 else [len(clips) - 1]
    fitted = [clip for index, clip in enumerate(clips) if index not in held]
    return fitted, [clips[index] for index in held]


def _count(clips: Sequence[Clip], order: int) -> int:
    return sum(max(0, len(mean) - order) for mean, _ in clips)


def _second_moments(clips: Sequence[Clip], order: int) -> Floats:
    """E w wᵀ of samples of windows w = (z_t, z_{t−1}, …, z_{t−order}), less m."""
    size = clips[0][0].shape[1] * (order + 1)
    total = np.zeros((size, size))
    for mean, variance in clips:
        if len(mean) > order:
            x, v = _windows(mean, order), _windows(variance, order)
            total += x.T @ x
            total[np.diag_indices(size)] += v.sum(axis=0)
    return total / _count(clips, order)


def _windows(rows: Floats, order: int) -> Floats:
    return np.concatenate([rows[order - k : len(rows) - k] for k in range(order + 1)], axis=1)


def _fit(clips: Sequence[Clip], order: int) -> tuple[Floats, Floats]:
    """Weights and whitening of all clips, under the ridge and the lean of the least held-out KL."""
    fitted, held = (_second_moments(part, order) for part in _split(clips))
    size = clips[0][0].shape[1]

    def loss(weights: Floats, lean: float) -> float:
        w = _whitening(_error(fitted, weights), lean)
        spread = np.einsum("ij,jk,ik->", w, _error(held, weights), w, optimize=True)
        return float(spread - 2.0 * np.log(np.diagonal(w)).sum())

    ridges = _RIDGES if order else _RIDGES[:1]
    tried = {ridge: _weights(fitted, size, ridge) for ridge in ridges}
    ridge, lean = min(product(tried, _LEANS), key=lambda pair: loss(tried[pair[0]], pair[1]))
    whole = _second_moments(clips, order)
    weights = _weights(whole, size, ridge)
    by_lag = weights.reshape(size, order, size).transpose(1, 0, 2)
    return by_lag, _whitening(_error(whole, weights), lean)


def _weights(moments: Floats, size: int, ridge: float) -> Floats:
    """(channels, order × channels); the ridge is in units of each regressor's variance."""
    past = moments[size:, size:]
    leaning = past + ridge * np.diag(np.diagonal(past))
    return np.asarray(np.linalg.solve(leaning, moments[size:, :size]).T, np.float64)


def _error(moments: Floats, weights: Floats) -> Floats:
    """E e eᵀ of the prediction error."""
    b = np.concatenate([np.eye(len(weights)), -weights], axis=1)
    found: Floats = b @ moments @ b.T
    return found


def _whitening(covariance: Floats, lean: float) -> Floats:
    """Lower triangular W with WᵀW = S⁻¹, of a covariance that leans to its diagonal."""
    leaning = (1.0 - lean) * covariance + lean * np.diag(np.diagonal(covariance))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(leaning)), np.float64)


def _crossed(whitening: Floats, error: Floats, variance: Floats) -> Floats:
    """E eᵀ P e + ln|S| per frame, of errors with some variance."""
    found: Floats = np.square(error @ whitening.T).sum(axis=1)
    found += variance @ np.square(whitening).sum(axis=0)
    found -= 2.0 * np.log(np.diagonal(whitening)).sum()
    return found


def _single(array: Floats) -> Floats:
    return array.astype(np.float32).astype(np.float64)
