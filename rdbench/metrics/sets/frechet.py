"""Fréchet distance between Gaussians, and with it that of the log-mel statistics of a set of clips.

The distance between N(μ₁, Σ₁) and N(μ₂, Σ₂) (Dowson and Landau, Journal of Multivariate Analysis
12, 1982: the squared 2-Wasserstein distance) is

    d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁ Σ₂)^½

and tr (Σ₁ Σ₂)^½ is the sum of the singular values of Σ₁^½ Σ₂^½. All of it is float64. Covariances
are not regularized: eigenvalues within rounding of zero count as zero, so that sets with fewer
windows than dimensions have a distance too. Moments (n, mean, scatter about the mean) add up over
groups of clips without loss; Σ = scatter / (n - 1).

`frechet_logmel` is that distance between references and reconstructions, each set taken as a
Gaussian of features as in the Fréchet audio distance (Kilgour et al., "Fréchet Audio Distance: a
reference-free metric for evaluating music enhancement algorithms", Interspeech 2019, arXiv
1812.08466), with levels of mel bands in place of a network's embedding. A feature belongs to a
window of half a second (windows follow each other; a last part that is shorter is left out):

    f_b = mean over frames of 10 log10 max(E_b, δ)   in dB,  b = 1 … 32

E_b is the power of band b in a frame (Hann window of 32 ms, hop 16 ms, frames wholly within the
window; a sinusoid at full scale peaks at 0 dB in its bin), averaged over channels. The bands are
triangles on Slaney's mel scale over 0 … half of the protocol's rate, so that values at two rates
are different numbers. The floor δ of -100 dB is all that is done with silence: its features are
-100 in each band, and count like others.

Its unit is dB²: a gain of g dB on the references adds 32 g², g² for each band. It asks whether the
reconstructions of a set sound like a set of originals, not whether each is like its own: exchanging
clips changes nothing.
Estimated from few windows it is biased upwards (covariances of finite samples differ by chance),
by more than its interval tells, so that values of sets of different size do not compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.metrics.base import (
    BackendFactory,
    ChannelRule,
    Direction,
    Distance,
    MetricDefinition,
    Scope,
    SetBackend,
)
from rdbench.metrics.ragged import cut, equal_lengths
from rdbench.types import AudioBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    Array = npt.NDArray[np.float64]
    Features = npt.NDArray[np.float32]

BANDS = 32
WINDOW_SECONDS = 0.5
FRAME_SECONDS = 0.032
FLOOR_DB = -100.0

# Transformed at once, as in rdbench.metrics.signal.spectral.
_SAMPLES = 2**20

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key="frechet_logmel",
        version=1,
        name="Fréchet distance (log-mel)",
        unit="dB²",
        direction=Direction.LOWER,
        lower=0.0,
        upper=math.inf,
        identity=0.0,
        domains=(),
        sample_rate=None,
        minimum_seconds=WINDOW_SECONDS,
        needs_alignment=False,
        definition=f"Fréchet distance between Gaussians of the levels of {BANDS} mel bands in "
        f"windows of {WINDOW_SECONDS:g} s, of all references and of all reconstructions of a "
        "domain at the protocol's rate",
        citation="Dowson and Landau, J. Multivariate Analysis 12, 1982; Kilgour et al., Fréchet "
        "Audio Distance, Interspeech 2019, arXiv 1812.08466 (there with embeddings)",
        channels=ChannelRule.JOINT,
        scope=Scope.SET,
        minimum_clips=2,
    ),
)


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


class Frechet(SetBackend):
    """The Fréchet distance of whatever a subclass makes features of."""

    tolerance = 1e-6

    def summary(self, features: Sequence[Features]) -> Moments:
        """The moments of a group's windows."""
        return Moments.of(features)

    def distance(
        self, *, reference: Sequence[Moments], reconstruction: Sequence[Moments]
    ) -> Distance:
        """The distance under weights of groups."""
        first, second = _Set(reference), _Set(reconstruction)

        def values(weights: Array) -> Array:
            return frechet(first.gaussians(weights), second.gaussians(weights))

        return values


class FrechetLogMel(Frechet):
    """`frechet_logmel` as the module defines it."""

    name = "torch"
    version = "1"

    def feature(self, audio: AudioBatch) -> list[Features]:
        """Levels of bands, float32 (windows, 32) per clip; none for one under half a second."""
        window = round(WINDOW_SECONDS * audio.sample_rate)
        found: dict[int, Features] = {}
        for length, indices in equal_lengths(audio, limit=_SAMPLES):
            whole = length // window
            samples = cut(audio, indices, whole * window)
            windows = samples.reshape(len(indices), audio.channels, whole, window).transpose(1, 2)
            levels = _levels(windows.flatten(0, 1), audio.sample_rate)
            levels = levels.reshape(len(indices), whole, BANDS)
            found |= dict(zip(indices, levels.cpu().numpy(), strict=True))
        return [found[index] for index in range(audio.clips)]


def backends(_key: str) -> dict[str, BackendFactory]:
    """How to build each backend of the one key here, the first being the default."""
    return {"torch": FrechetLogMel}


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


def _levels(samples: torch.Tensor, rate: int) -> torch.Tensor:
    """Mean level of each band in dB, (windows, bands), of (windows, channels, time)."""
    from rdbench.metrics.spectra import magnitudes, mel_bank

    hop = round(FRAME_SECONDS * rate / 2)
    if not len(samples):
        return samples.new_zeros(0, BANDS)
    full_scale = hop / 2  # half of the window's sum: a unit sinusoid on a bin
    power = (magnitudes(samples, 2 * hop, hop, center=False) / full_scale).square().mean(dim=1)
    bands = power.transpose(-1, -2) @ mel_bank(rate, 2 * hop, BANDS, str(samples.device), None)
    return bands.clamp_(min=10 ** (FLOOR_DB / 10)).log10_().mul_(10).mean(dim=1)
