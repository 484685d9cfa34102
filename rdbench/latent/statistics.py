"""Statistics of a latent: sums over frames that add up over clips, and what comes of them.

A clip's sums take the posterior's means and variances and one sample z, channel by channel and
place by place (`rdbench.latent.places`). Everything else follows from the sums of any set of clips,
so that memory is flat in their number of frames.

KL is to N(0, I), in nats. A latent without a posterior scale has NaN for it; z is then the mean.
Sums of clips are float64 and add up in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from rdbench.latent.places import PLACES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

VERSION = 1
"""Raised when the sums change."""
SEGMENT = 32
"""Frames of a periodogram; segments overlap by half."""
EDGES = np.sinh(np.linspace(-5.12, 5.12, 129))
"""Of the histogram of z, near −84 to 84; what lies beyond counts in the outer bins."""
NORM_EDGES = 2.0 ** np.linspace(-6.0, 6.0, 97)
"""Of the histogram of ‖z‖²/D; likewise."""
LEVEL_EDGES = np.arange(-90.0, 1.0, 10.0)
"""Of the levels in dBFS by which KL and norm are summed; likewise."""
DEAD_NATS = 0.01
"""A channel is dead by its KL below that many nats per frame."""
ACTIVE_VARIANCE = 0.01
"""A channel is active by Var μ above that (Burda et al. 2016)."""
_SIGMAS = 4.0


@dataclass(frozen=True)
class LatentSums:
    """Sums over frames; P places, D channels, all float64.

    frames (P,): how many. mean, square, variance, kl (P, D): Σ μ, Σ μ², Σ σ², Σ KL. pairs (P,):
    neighbours in time, by the place of the later; pair_sums (P, D, 5): of these Σ a, Σ b, Σ a²,
    Σ b², Σ ab. products (D, D): Σ μ μᵀ. histogram (D, bins): values of z. segments (1,) and
    spectrum (D, bins): Σ of periodograms of μ. norms (P, bins): frames by ‖z‖²/D; norm (P,): its
    sum. levels (bins, 3): by level how many frames, Σ KL, Σ ‖z‖²/D.
    """

    frames: Floats
    mean: Floats
    square: Floats
    variance: Floats
    kl: Floats
    pairs: Floats
    pair_sums: Floats
    products: Floats
    histogram: Floats
    segments: Floats
    spectrum: Floats
    norms: Floats
    norm: Floats
    levels: Floats

    @classmethod
    def of(
        cls,
        mean: Floats,
        scale: Floats | None,
        sample: Floats,
        places: Places,
        levels: Floats,
    ) -> LatentSums:
        """The sums of one clip; mean, scale, sample: (D, frames), places and dBFS: (frames,)."""
        channels = len(mean)
        at = np.eye(len(PLACES))[places].T
        variance = np.full_like(mean, np.nan) if scale is None else np.square(scale)
        kl = kl_to_standard(mean, variance)
        a, b = mean[:, :-1], mean[:, 1:]
        pairs = np.stack([a, b, a * a, b * b, a * b], axis=-1)
        norm = np.square(sample).mean(axis=0)
        level = _bins(levels, LEVEL_EDGES)
        spectra = _periodograms(mean)
        return cls(
            frames=at.sum(axis=1),
            mean=at @ mean.T,
            square=at @ np.square(mean).T,
            variance=at @ variance.T,
            kl=at @ kl.T,
            pairs=at[:, 1:].sum(axis=1),
            pair_sums=np.einsum("pt,dtk->pdk", at[:, 1:], pairs),
            products=mean @ mean.T,
            histogram=_counts(sample, EDGES),
            segments=np.array([float(spectra.shape[1])]),
            spectrum=spectra.sum(axis=1).reshape(channels, -1),
            norms=np.stack([_counts(norm[None, places == p], NORM_EDGES)[0] for p in range(3)]),
            norm=at @ norm,
            levels=np.eye(len(LEVEL_EDGES) - 1)[level].T
            @ np.stack([np.ones_like(norm), kl.sum(axis=0), norm], axis=1),
        )

    @property
    def channels(self) -> int:
        """D."""
        return int(self.mean.shape[1])

    def __add__(self, other: LatentSums) -> LatentSums:
        return LatentSums(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(LatentSums))
        )

    def pack(self) -> Floats:
        """All numbers in one array, D first."""
        parts = [getattr(self, f.name).ravel() for f in fields(self)]
        return np.concatenate([[float(self.channels)], *parts])

    @classmethod
    def unpack(cls, array: Floats) -> LatentSums:
        """What `pack` gave; raises ValueError for anything else."""
        fine = array.ndim == 1 and len(array) > 0 and 0 < array[0] < len(array)
        shapes = _shapes(int(array[0])) if fine else {}
        sizes = [math.prod(shape) for shape in shapes.values()]
        if not shapes or len(array) != 1 + sum(sizes):
            raise ValueError("these are no sums of a latent; run again to make them anew")
        parts = np.split(np.asarray(array[1:], np.float64), np.cumsum(sizes)[:-1])
        return cls(**{n: p.reshape(s) for (n, s), p in zip(shapes.items(), parts, strict=True)})


def kl_to_standard(mean: Floats, variance: Floats) -> Floats:
    """KL(N(mean, variance) ‖ N(0, 1)) of every element in nats."""
    return np.asarray(0.5 * (np.square(mean) + variance - 1.0 - np.log(variance)))


def _shapes(channels: int) -> dict[str, tuple[int, ...]]:
    p, d, bins = len(PLACES), channels, len(EDGES) - 1
    return {
        "frames": (p,), "mean": (p, d), "square": (p, d), "variance": (p, d), "kl": (p, d),
        "pairs": (p,), "pair_sums": (p, d, 5), "products": (d, d), "histogram": (d, bins),
        "segments": (1,), "spectrum": (d, SEGMENT // 2 + 1), "norms": (p, len(NORM_EDGES) - 1),
        "norm": (p,), "levels": (len(LEVEL_EDGES) - 1, 3),
    }  # fmt: skip


@dataclass(frozen=True)
class ByPlace:
    """Per channel, at one place or over all of them; (D,) each, NaN where there is none.

    frames: how many. mean, spread: E μ and SD μ. noise: √E σ². total: s_c, √(Var μ + E σ²). kl:
    nats per frame. correlation: of μ with itself one frame earlier.
    """

    frames: int
    mean: Floats
    spread: Floats
    noise: Floats
    total: Floats
    kl: Floats
    correlation: Floats


@np.errstate(divide="ignore", invalid="ignore")
def by_place(sums: LatentSums, place: int | None = None) -> ByPlace:
    """What the frames at PLACES[place] say of each channel; of all frames for None."""
    chosen = slice(None) if place is None else slice(place, place + 1)
    n = sums.frames[chosen].sum()

    def over(values: Floats) -> Floats:
        return np.asarray(values[chosen].sum(axis=0) / n)

    mean, noise = over(sums.mean), over(sums.variance)
    # What is left of two large squares is no variance.
    square = over(sums.square)
    spread = np.where(square - mean**2 > 1e-12 * square, square - mean**2, 0.0)
    a, b, aa, bb, ab = np.moveaxis(sums.pair_sums[chosen].sum(axis=0), -1, 0) / max(
        sums.pairs[chosen].sum(), 1.0
    )
    correlation = (ab - a * b) / np.sqrt((aa - a * a) * (bb - b * b))
    return ByPlace(
        frames=int(n),
        mean=mean,
        spread=np.sqrt(spread),
        noise=np.sqrt(noise),
        total=np.sqrt(spread + np.nan_to_num(noise)),
        kl=over(sums.kl),
        correlation=np.where(np.isfinite(correlation) & (spread > 0), correlation, np.nan),
    )


def active_by_kl(sums: LatentSums) -> NDArray[np.bool_]:
    """Which channels have a KL of at least 0.01 nat per frame, (D,)."""
    return by_place(sums).kl >= DEAD_NATS


def active_by_variance(sums: LatentSums) -> NDArray[np.bool_]:
    """Which channels have Var μ > 0.01, (D,)."""
    return by_place(sums).spread ** 2 > ACTIVE_VARIANCE


def covariance(sums: LatentSums) -> Floats:
    """Cov μ over all frames, (D, D)."""
    n = sums.frames.sum()
    mean = sums.mean.sum(axis=0) / n
    return np.asarray(sums.products / n - np.outer(mean, mean))


def effective_rank(sums: LatentSums) -> float:
    """exp(−Σ p ln p) of the normalised eigenvalues p of Cov μ; NaN where nothing moves.

    Roy & Vetterli 2007.
    """
    values = np.maximum(np.linalg.eigvalsh(covariance(sums)), 0.0)
    scale = sums.square.sum() / sums.frames.sum()
    if values.sum() <= 1e-12 * scale:
        return math.nan
    p = values[values > 0] / values.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def time_spectrum(sums: LatentSums) -> Floats:
    """Power spectrum of each channel of μ along time, (D, SEGMENT/2 + 1); NaN without a segment.

    From 0 to half the frame rate; each clip's mean is taken out.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(sums.spectrum / np.where(sums.segments > 0, sums.segments, np.nan))


def channel_spectrum(sums: LatentSums) -> Floats:
    """Power spectrum of μ less its mean along the channels, (D/2 + 1,).

    The diagonal of F C Fᴴ for the covariance C.
    """
    along = np.fft.rfft(covariance(sums), axis=0)
    d = sums.channels
    turn = np.exp(2j * np.pi * np.outer(np.arange(len(along)), np.arange(d)) / d)
    return np.asarray((along * turn).sum(axis=1).real / d)


def slope(spectrum: Floats) -> float:
    """Slope of ln power over ln frequency without frequency 0: 0 for white, −2 for a random walk.

    NaN below three frequencies, and for a spectrum with nothing in it.
    """
    power = spectrum[1:]
    if len(power) < 3 or not (np.isfinite(power).all() and (power > 0).all()):
        return math.nan
    frequency = np.log(np.arange(1, len(spectrum)))
    return float(np.polyfit(frequency, np.log(power), 1)[0])


def flatness(sums: LatentSums) -> Floats:
    """Geometric over arithmetic mean of each channel's spectrum along time, (D,); white is 1."""
    power = time_spectrum(sums)[:, 1:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1))


def distances(sums: LatentSums) -> tuple[Floats, Floats]:
    """Wasserstein-1 and Kolmogorov–Smirnov distance of z from N(0, 1) in each channel, (D,)."""
    from scipy.special import ndtr

    gap = np.abs(_distribution(sums)[:, 1:-1] - ndtr(EDGES[1:-1]))
    width = np.diff(EDGES[1:-1])
    return 0.5 * (gap[:, 1:] + gap[:, :-1]) @ width, gap.max(axis=1)


def outlier_rate(sums: LatentSums) -> Floats:
    """Share of z more than 4 s_c from m_c in each channel, (D,); 6.3e-5 of a Gaussian.

    From the histogram, of whose bin at 4 s_c the part counts that would of a Gaussian. NaN where
    4 s_c lies beyond the histogram.
    """
    whole = by_place(sums)
    above = _beyond(sums.histogram, whole.mean, whole.total)
    below = _beyond(sums.histogram[:, ::-1], -whole.mean, whole.total)  # EDGES are symmetric
    return np.asarray((above + below) / sums.frames.sum())


@np.errstate(divide="ignore", invalid="ignore")
def _beyond(counts: Floats, mean: Floats, spread: Floats) -> Floats:
    """How many values of each channel lie above m + 4 s, (D,)."""
    from scipy.special import ndtr

    at = mean + _SIGMAS * spread
    where = _bins(at, EDGES)
    own = np.take_along_axis(counts, where[:, None], axis=1)[:, 0]
    higher = (counts * (np.arange(counts.shape[1]) > where[:, None])).sum(axis=1)
    low, high = (ndtr((mean - EDGES[where + k]) / spread) for k in (0, 1))
    share = (ndtr(-_SIGMAS) - high) / (low - high)
    found = np.where(spread > 0, higher + share * own, 0.0)
    return np.where(np.abs(at) < EDGES[-1], found, np.nan)


def _distribution(sums: LatentSums) -> Floats:
    """The share of z at or below each of EDGES, (D, edges)."""
    total = np.cumsum(sums.histogram, axis=1)
    shares = np.concatenate([np.zeros((len(total), 1)), total], axis=1)
    return np.asarray(shares / sums.frames.sum())


def _periodograms(mean: Floats) -> Floats:
    """(D, segments, bins) of half-overlapping segments, Hann windows, the clip's mean taken out."""
    if mean.shape[1] < SEGMENT:
        return np.zeros((len(mean), 0, SEGMENT // 2 + 1))
    centred = mean - mean.mean(axis=1, keepdims=True)
    parts = np.lib.stride_tricks.sliding_window_view(centred, SEGMENT, axis=1)[:, :: SEGMENT // 2]
    window = np.hanning(SEGMENT + 1)[:-1]
    power = np.abs(np.fft.rfft(parts * window, axis=-1)) ** 2
    return np.asarray(power / np.square(window).sum())


def _bins(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """In which bin each value lies; the outer ones have what lies beyond."""
    found = np.searchsorted(edges, values, side="right") - 1
    return np.asarray(np.clip(found, 0, len(edges) - 2), np.int64)


def _counts(rows: Floats, edges: Floats) -> Floats:
    """The histogram of each row, (rows, bins)."""
    bins = len(edges) - 1
    cells = _bins(rows, edges) + bins * np.arange(len(rows))[:, None]
    found = np.bincount(cells.ravel(), minlength=bins * len(rows)).reshape(-1, bins)
    return np.asarray(found, np.float64)
