"""Steps for rounding by rate and distortion: reverse water-filling of what the decoder makes of
errors.

An error of variance D_c in channel c becomes an error of g_c D_c in what is heard, g_c the gain of
the decoder (measured on other clips, `rdbench.codecs.posterior.gain`). Of all D that need a given
rate Σ ½ log2(s_c² / D_c) the least Σ g_c D_c has (Cover & Thomas 2006, section 10.3.3)

    g_c D_c = θ,    and nothing is sent of a channel whose variance s_c² is below θ / g_c,

so that Δ_c = √(12 θ / g_c). The level θ is the one at which the fitting clips cost as much as with
the steps √12 σ̄ of `coded`: the two differ in where the bits lie and in nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdbench.rate.coded.base import clip_means
from rdbench.rate.coded.rounding import FittedCoder, noise_steps
from rdbench.rate.prior import Moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdbench.rate.coded.base import Floats
    from rdbench.types import Posterior

WATER = "fitted steps by reverse water-filling"
_FRAMES = 16_384  # from which rates are estimated
_ROUNDS = 24
_DEAD = 1e3  # a step in standard deviations at which every index is zero


def fit_water(
    posteriors: Sequence[Posterior], gain: Floats, moments: Moments | None = None
) -> FittedCoder:
    """Fits steps and distributions on the posteriors of other clips.

    gain: mean square error at the output for each unit of it in a channel, (channels,). Raises
    PayloadError for fewer than two frames.
    """
    moments = moments or Moments.of(posteriors)
    rows = np.concatenate(clip_means(posteriors), axis=1)
    some = rows[:, :: -(-rows.shape[1] // _FRAMES)] - moments.centre[:, None]
    wanted = _rate(some, noise_steps(moments))
    low, high = -40.0, 40.0  # octaves of θ about the mean output error of the channels
    scale = float((gain * np.square(moments.spread)).mean())
    for _ in range(_ROUNDS):
        middle = 0.5 * (low + high)
        above = _rate(some, _steps(scale * 2.0**middle, gain, moments.spread)) > wanted
        low, high = (middle, high) if above else (low, middle)
    steps = _steps(scale * 2.0**high, gain, moments.spread)
    return FittedCoder.with_steps(rows, moments, steps, WATER)


def _steps(level: float, gain: Floats, spread: Floats) -> Floats:
    """Δ of each channel with the water at `level`."""
    dead = gain * np.square(spread) <= level
    allowed = level / np.where(dead, 1.0, gain)
    found: Floats = np.where(dead, _DEAD * spread, np.sqrt(12.0 * allowed))
    return found


def _rate(rows: Floats, steps: Floats) -> float:
    """Entropy of the indices of centred rows, in bits per frame."""
    bits = 0.0
    for row, step in zip(rows, steps, strict=True):
        if step > 0:
            share = np.unique(np.rint(row / step), return_counts=True)[1] / len(row)
            bits -= float((share * np.log2(share)).sum())
    return bits
