"""PLCMOS: how well lost packets were concealed, by a network that has no reference.

A network that was trained on ratings of concealed losses, of codecs among them, and that judges as
one of many raters does: Diener, Purin, Sootla, Saabas, Aichner and Cutler, "PLCMOS: a data-driven
non-intrusive metric for the evaluation of packet loss concealment algorithms", Interspeech 2023
(arXiv 2305.15127); by the package `speechmos`, which has the model (`plcmos_v2.onnx`). With x one
channel at 16 kHz, X its short-time log-power spectra (Hamming windows of 32 ms, every 16 ms) and
r_i the vector in R^64 that stands for a rater,

    plcmos = (1/15) Σ_{i=1}^{15} f(X, r_i),   r_i ~ N(0, I).

Conventions:
- the package draws other raters for each clip, from NumPy's global generator, so that its value of
  one clip differs from call to call, by 0.02 (standard deviation). Here the same fifteen judge all
  clips: those that it draws after `numpy.random.seed(0)`;
- the whole clip is one input. Time and memory grow with it, and more than a minute is not taken.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition, Scope
from rdbench.metrics.neural.opinion.speechmos import RATE, SHORTEST, SpeechMos, session

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

KEY = "plcmos"
RATERS = 15
LONGEST = 60.0  # seconds
MODEL = "plcmos_models/plcmos_v2.onnx"
_RATER = 64  # dimensions

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key=KEY,
        version=1,
        name="PLCMOS",
        unit="MOS",
        direction=Direction.HIGHER,
        # Nothing holds the network's output within 1 to 5.
        lower=-math.inf,
        upper=math.inf,
        identity=math.nan,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=SHORTEST,
        needs_alignment=False,
        definition="mean opinion score of concealed packet losses that a network (version 2) "
        f"estimates of the reconstruction alone at 16 kHz, mean over {RATERS} simulated raters, "
        "the same for all clips",
        citation="Diener et al., PLCMOS, Interspeech 2023, arXiv 2305.15127; package speechmos "
        "(MIT)",
        scope=Scope.CLIP_ALONE,
    ),
)


class PlcMos(SpeechMos):
    """`plcmos` as the module defines it."""

    models = (MODEL,)
    longest = LONGEST

    def warm_up(self) -> None:
        """Loads the model."""
        _network()

    def opinion(self, samples: npt.NDArray[np.float32]) -> float:
        """The mean opinion of the raters on a channel (time,)."""
        import numpy as np

        network = _network()
        spectra = network.stft_transform(samples).astype(np.float32)[None, None]
        found = [
            np.asarray(
                network.session.run(None, {"degraded_audio": spectra, "rater_embed": rater[None]})
            ).item()
            for rater in _raters()
        ]
        return math.fsum(found) / len(found)


def backends(_key: str) -> dict[str, BackendFactory]:
    """How to build each backend of the one key, the first being the default."""
    return {"reference": partial(PlcMos, KEY)}


@cache
def _raters() -> npt.NDArray[np.float32]:
    """The vectors of all raters, (raters, dimensions)."""
    import numpy as np

    # The generator that numpy.random.seed sets, by whose draws values are compared.
    drawn = np.random.RandomState(0).normal(size=(RATERS, _RATER))
    return drawn.astype(np.float32)


@cache
def _network() -> Any:
    """The package's object, with a session of one thread in the place of its own."""
    from speechmos.plcmos import PLCMOS

    network = PLCMOS.__new__(PLCMOS)
    network.session = session(MODEL, KEY)
    return network
