"""The statistics of a latent as rows: what follows from the sums of a clip, and of all clips."""

from __future__ import annotations

import math

import numpy as np

from rdbench.latent import statistics
from rdbench.latent.places import PLACES
from rdbench.latent.statistics import LatentSums
from rdbench.types import Score

EACH, ALL = "each clip", "all clips"
"""Models of rows: over the frames of one clip, and of all clips of a domain."""
COPIES = ", copy "
"""Between these and the name of a degraded copy of the clips."""
NORM = "norm"
_KL = tuple(f"kl_{place}" for place in PLACES)
OF_FRAMES = (*_KL, NORM)
"""The keys of what a mean over frames is, which single clips have too."""
UNITS = {
    **dict.fromkeys(_KL, "nat/frame"),
    NORM: "",
    "effective_rank": "channels",
    "active_kl": "channels",
    "active_variance": "channels",
    "wasserstein": "",
    "kolmogorov_smirnov": "",
    "outlier_rate": "share",
    "autocorrelation": "",
    "flatness": "",
    "time_slope": "",
    "channel_slope": "",
}
"""By key, the unit of a row; `statistics_of` says what each is."""
_NO_SCALE = "the latent has no trained posterior scale, so it has no KL"


def of_copy(frames: str, copy: str) -> str:
    """The model of rows of a degraded copy of the clips; copy: "" for the clips themselves.

    >>> of_copy("all clips", "noise_20"), of_copy("all clips", "")
    ('all clips, copy noise_20', 'all clips')
    """
    return f"{frames}{COPIES}{copy}" if copy else frames


def copy_in(model: str) -> str:
    """The copy that the model of a row names, "" for the clips themselves."""
    return model.partition(COPIES)[2]


def statistics_of(sums: LatentSums) -> dict[str, Score]:
    """The rows of all clips by key.

    kl_…: nats per frame at a place. norm: E ‖z‖²/D. effective_rank: of Cov μ. active_kl,
    active_variance: channels with a KL of at least 0.01 nat per frame, with Var μ > 0.01.
    wasserstein, kolmogorov_smirnov: distances of z from N(0, 1), and outlier_rate: of z beyond
    4 s_c, each the mean over all channels. autocorrelation (of lag 1), flatness: of the trajectory
    of μ, mean over channels weighted by Var μ. time_slope, channel_slope: of the power spectra of
    μ, ln power over ln frequency.
    """
    whole = statistics.by_place(sums)
    wasserstein, smirnov = statistics.distances(sums)
    spectrum = statistics.time_spectrum(sums).sum(axis=0)
    short = f"no clip has the {statistics.SEGMENT} frames of a spectrum, or nothing moves"
    few = "the latent has too few channels for a spectrum along them, or nothing moves"
    far = f"the latent goes beyond ±{statistics.EDGES[-1]:.0f}, where its histogram ends"
    still = "no channel moves from frame to frame"
    active = math.nan
    if np.isfinite(whole.kl).all():
        active = float(statistics.active_by_kl(sums).sum())
    return {
        **{key: of_frames(key, sums) for key in OF_FRAMES},
        "effective_rank": _score(statistics.effective_rank(sums), still),
        "active_kl": _score(active, _NO_SCALE),
        "active_variance": Score(float(statistics.active_by_variance(sums).sum())),
        "wasserstein": Score(float(wasserstein.mean())),
        "kolmogorov_smirnov": Score(float(smirnov.mean())),
        "outlier_rate": _score(float(statistics.outlier_rate(sums).mean()), far),
        "autocorrelation": _score(_mean(whole.correlation, whole.spread**2), still),
        "flatness": _score(_mean(statistics.flatness(sums), whole.spread**2), short),
        "time_slope": _score(statistics.slope(spectrum), short),
        "channel_slope": _score(statistics.slope(statistics.channel_spectrum(sums)), few),
    }


def of_frames(key: str, sums: LatentSums) -> Score:
    """The row of a key of `OF_FRAMES`: the KL at a place, or the norm."""
    if key == NORM:
        return Score(float(sums.norm.sum() / sums.frames.sum()))
    place = _KL.index(key)
    if not sums.frames[place]:
        return Score.undefined(f"there is no frame of {PLACES[place]}")
    return _score(float(statistics.by_place(sums, place).kl.sum()), _NO_SCALE)


def _score(value: float, otherwise: str) -> Score:
    return Score(value) if math.isfinite(value) else Score.undefined(otherwise)


def _mean(values: statistics.Floats, weights: statistics.Floats) -> float:
    there = np.isfinite(values) & (weights > 0)
    return float(np.average(values[there], weights=weights[there])) if there.any() else math.nan
