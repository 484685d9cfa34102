"""DNSMOS: opinions of speech without a reference, of the voice, the background and both.

Networks that were trained on ratings of denoised speech by P.835 and P.808: Reddy, Gopal and
Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric to evaluate noise
suppressors", ICASSP 2022 (arXiv 2110.01763), and "DNSMOS", ICASSP 2021 (arXiv 2010.15258); by the
package `speechmos`, which has the models (`sig_bak_ovr.onnx`, `model_v8.onnx`).

Each channel at 16 kHz is repeated until it fills 9.01 s, cut into windows of that length a second
apart, and a score is the mean over windows of a polynomial of the network's output (of
`dnsmos_p808`, of the output):

    dnsmos_sig   the voice                 dnsmos_ovrl   both together
    dnsmos_bak   the background            dnsmos_p808   both, by the older model

Conventions:
- these are the package's, and those of `rdbench.metrics.neural.opinion.speechmos`;
- level counts, as it did for its raters;
- one clip goes through the models once, whichever of the four are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition, Scope
from rdbench.metrics.neural.opinion.speechmos import RATE, SHORTEST, SpeechMos, session
from rdbench.metrics.remembered import remembered

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

P835, P808 = "dnsmos_models/sig_bak_ovr.onnx", "dnsmos_models/model_v8.onnx"
WHAT = {
    "dnsmos_ovrl": ("DNSMOS OVRL", "voice and background together (P.835)"),
    "dnsmos_sig": ("DNSMOS SIG", "the voice (P.835)"),
    "dnsmos_bak": ("DNSMOS BAK", "the background (P.835)"),
    "dnsmos_p808": ("DNSMOS P.808", "the whole (P.808), by the older model"),
}

DEFINITIONS: tuple[MetricDefinition, ...] = tuple(
    MetricDefinition(
        key=key,
        version=1,
        name=name,
        unit="MOS",
        direction=Direction.HIGHER,
        # The polynomials leave 1 to 5 by a little.
        lower=-math.inf,
        upper=math.inf,
        identity=math.nan,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=SHORTEST,
        needs_alignment=False,
        definition=f"mean opinion score that a network estimates of {what}, of the reconstruction "
        "alone at 16 kHz, mean over windows of 9.01 s",
        citation="Reddy et al., DNSMOS P.835, ICASSP 2022, arXiv 2110.01763, and DNSMOS, ICASSP "
        "2021, arXiv 2010.15258; package speechmos (MIT)",
        scope=Scope.CLIP_ALONE,
    )
    for key, (name, what) in WHAT.items()
)


class DnsMos(SpeechMos):
    """One of the four scores of the package's DNSMOS."""

    models = (P835, P808)

    def warm_up(self) -> None:
        """Loads the models."""
        _network()

    def opinion(self, samples: npt.NDArray[np.float32]) -> float:
        """The score of a channel (time,), mean over windows."""
        return _opinions(samples)[f"{self.key.removeprefix('dnsmos_')}_mos"]


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"reference": partial(DnsMos, key)}


@remembered
def _opinions(samples: npt.NDArray[np.float32]) -> Mapping[str, float]:
    found: Mapping[str, float] = _network()(samples, RATE, False)
    return found


@cache
def _network() -> Any:
    """The package's object, with sessions of one thread in the place of its own."""
    from speechmos.dnsmos import DNSMOS

    network = DNSMOS.__new__(DNSMOS)
    network.onnx_sess = session(P835, "dnsmos_ovrl")
    network.p808_onnx_sess = session(P808, "dnsmos_p808")
    return network
