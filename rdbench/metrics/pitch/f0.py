"""How well a reconstruction keeps the melody of speech, and what of it is voiced.

With F_s[t] and F_ŝ[t] the fundamental frequencies of frames of 5 ms, as WORLD finds them
(`rdbench.metrics.pitch.world`), V the frames that are voiced in both, and N the number of frames,

    lf0_rmse      = √( Σ_{t∈V} ( ln F_ŝ[t] - ln F_s[t] )² / |V| )         in units of ln
    voicing_error = 100 · #{ t : voiced in one of the two alone } / N      in %

A semitone is 0.0578 of lf0_rmse, an octave 0.693. The log-F0 error is that of ESPnet's evaluation
(Hayashi et al., "ESPnet-TTS", ICASSP 2020), without its alignment by dynamic time warping: a
reconstruction lies on its reference in time. The voicing decision error is that of Nakatani et al.
("A method for fundamental frequency estimation and voicing decision", Speech Communication 50(3),
2008).

Fewer than ten frames that are voiced in both have no log-F0 error (whispered speech, or a
reconstruction that has lost its voice, which voicing_error shows); a reference without any voiced
frame has no voicing error.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition
from rdbench.metrics.one_clip import score_clip
from rdbench.metrics.pitch.world import RATE, SHORTEST, WorldBackend
from rdbench.types import Score

if TYPE_CHECKING:
    from rdbench.metrics.one_clip import Clip
    from rdbench.metrics.pitch.world import Voice

FEWEST = 10  # frames

_definition = partial(
    MetricDefinition,
    version=1,
    direction=Direction.LOWER,
    lower=0.0,
    identity=0.0,
    domains=("speech",),
    sample_rate=RATE,
    minimum_seconds=SHORTEST,
    needs_alignment=False,
)
_FRAMES = "frames of 5 ms, by Harvest and D4C of WORLD at 16 kHz"
DEFINITIONS: tuple[MetricDefinition, ...] = (
    _definition(
        key="lf0_rmse",
        name="Log-F0 RMSE",
        unit="ln",
        upper=math.inf,
        definition="root mean square difference of the natural logarithms of F0 over frames that "
        f"are voiced in both, {_FRAMES}; undefined below {FEWEST} such frames",
        citation="as in Hayashi et al., ESPnet-TTS, ICASSP 2020, without time warping; package "
        "pyworld",
    ),
    _definition(
        key="voicing_error",
        name="Voicing error",
        unit="%",
        upper=100.0,
        definition=f"share of frames that are voiced in one of the two alone, {_FRAMES}",
        citation="Nakatani et al., A method for fundamental frequency estimation and voicing "
        "decision, Speech Communication 50(3), 2008; package pyworld",
    ),
)


class LogF0Rmse(WorldBackend):
    """`lf0_rmse` as the module defines it."""

    def compare(self, reference: Voice, reconstruction: Voice) -> Score:
        """The error over the frames that are voiced in both."""
        import numpy as np

        both = reference.voiced & reconstruction.voiced
        if both.sum() < FEWEST:
            return Score.undefined(
                f"{both.sum()} frames are voiced in both, and {FEWEST} are needed"
            )
        change = np.log(reconstruction.f0[both]) - np.log(reference.f0[both])
        return Score(float(np.sqrt(np.square(change).mean())))


class VoicingError(WorldBackend):
    """`voicing_error` as the module defines it."""

    def compare(self, reference: Voice, reconstruction: Voice) -> Score:
        """The share of frames whose voicing differs."""
        if not reference.voiced.any():
            return Score.undefined("the reference has no voiced frame")
        return Score(100 * float((reference.voiced != reconstruction.voiced).mean()))


def lf0_rmse(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`lf0_rmse`: error of ln F0 over frames that are voiced in both; defined at 16 kHz.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz. The mean of the channels' values.
    """
    return score_clip(
        LogF0Rmse("lf0_rmse"),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def voicing_error(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`voicing_error`: share of frames voiced in one alone, in %; defined at 16 kHz.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz. The mean of the channels' values.
    """
    return score_clip(
        VoicingError("voicing_error"),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"reference": partial(LogF0Rmse if key == "lf0_rmse" else VoicingError, key)}
