"""Mel-cepstral distortion: how far the envelope of a voice has moved.

With c_d[t] the mel-cepstrum of WORLD's spectral envelope (`rdbench.metrics.pitch.world`) of order
24 under the all-pass constant α = 0.42, that of 16 kHz,

    mcd = mean over frames t of  (10 / ln 10) √( 2 Σ_{d=1}^{24} ( c_d(ŝ)[t] - c_d(s)[t] )² )  in dB

over frames in which the reference's envelope is within 40 dB of its loudest frame. c_0, the level,
is left out. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE
Pacific Rim Conference 1993; the mel-cepstrum is that of Tokuda, Kobayashi, Masuko and Imai,
"Mel-generalized cepstral analysis", ICSLP 1994, by the frequency transformation of a minimum-phase
cepstrum (SPTK's `freqt`):

    Σ_d c_d u^d  =  Σ_m ĉ_m ( (u + α) / (1 + α u) )^m,   ĉ_0 + Σ_{m≥1} ĉ_m cos(mω) = ln |H(ω)|.

Nothing is warped in time: a reconstruction lies on its reference. Values of other orders, rates,
analyses or with warping are other numbers.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING

from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition
from rdbench.metrics.one_clip import score_clip
from rdbench.metrics.pitch.world import RATE, SHORTEST, WorldBackend
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.metrics.one_clip import Clip
    from rdbench.metrics.pitch.world import Voice

    Floats = npt.NDArray[np.float64]

ORDER = 24
ALPHA = 0.42
RANGE_DB = 40.0
_SCALE = 10 * math.sqrt(2) / math.log(10)

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key="mcd",
        version=1,
        name="MCD",
        unit="dB",
        direction=Direction.LOWER,
        lower=0.0,
        upper=math.inf,
        identity=0.0,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=SHORTEST,
        needs_alignment=False,
        definition=f"distance of mel-cepstra of order {ORDER} (α = {ALPHA}, without the level) of "
        "the envelopes by CheapTrick of WORLD at 16 kHz, mean over frames of 5 ms within "
        f"{RANGE_DB:g} dB of the reference's loudest",
        citation="Kubichek, Mel-cepstral distance measure for objective speech quality "
        "assessment, IEEE Pacific Rim Conference 1993; package pyworld",
    ),
)


class MelCepstralDistortion(WorldBackend):
    """`mcd` as the module defines it."""

    def compare(self, reference: Voice, reconstruction: Voice) -> Score:
        """The distance of both envelopes."""
        import numpy as np

        power = reference.envelope.mean(-1)
        loud = power >= power.max() * 10 ** (-RANGE_DB / 10)
        change = mel_cepstrum(reconstruction.envelope[loud]) - mel_cepstrum(
            reference.envelope[loud]
        )
        return Score(float(_SCALE * np.linalg.norm(change[:, 1:], axis=-1).mean()))


def mel_cepstrum(envelope: Floats, order: int = ORDER, alpha: float = ALPHA) -> Floats:
    """The mel-cepstrum (frames, order + 1) of power envelopes (frames, bins), 0 to half the rate.

    A bin without power counts as the smallest positive number.
    """
    import numpy as np

    tiny = np.finfo(np.float64).tiny
    cepstrum = np.fft.irfft(np.log(np.maximum(envelope, tiny)))[:, : envelope.shape[1]]
    cepstrum[:, 0] /= 2  # those of ln|H|² are twice those of ln|H|, and so are ĉ_m for m ≥ 1
    cepstrum[:, -1] /= 2  # the term at half of the rate has no twin
    transformed: Floats = cepstrum @ _frequency_transform(envelope.shape[1], order, alpha)
    return transformed


@cache
def _frequency_transform(terms: int, order: int, alpha: float) -> Floats:
    """Row m: the coefficients of ((u + α) / (1 + α u))^m up to u^order, (terms, order + 1)."""
    import numpy as np

    powers = np.arange(order + 1)
    base = (1 - alpha**2) * (-alpha) ** (powers - 1.0)
    base[0] = alpha
    rows = np.zeros((terms, order + 1))
    rows[0, 0] = 1
    for m in range(1, terms):
        rows[m] = np.convolve(rows[m - 1], base)[: order + 1]
    return rows


def mel_cepstral_distortion(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`mcd`: distance of spectral envelopes, in dB; defined at 16 kHz.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz. The mean of the channels' values.
    """
    return score_clip(
        MelCepstralDistortion("mcd"),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"reference": partial(MelCepstralDistortion, key)}
