"""DNSMOS: opinions of speech without a reference, of the voice, the background and both.

Networks that were trained on ratings of denoised speech by P.835 and P.808: Reddy, Gopal and
Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric to evaluate noise
suppressors", ICASSP 2022 (arXiv 2110.01763), and "DNSMOS", ICASSP 2021 (arXiv 2010.15258); by the
package `speechmos`, which has the models (`sig_bak_ovr.onnx`, `model_v8.onnx`), in onnxruntime on
one thread of the CPU.

Each channel at 16 kHz is repeated until it fills 9.01 s, cut into windows of that length a second
apart, and a score is the mean over windows of a polynomial of the network's output (of
`dnsmos_p808`, of the output):

    dnsmos_sig   the voice                 dnsmos_ovrl   both together
    dnsmos_bak   the background            dnsmos_p808   both, by the older model

Conventions:
- these are the package's, with samples beyond full scale cut to it (which the package refuses, and
  a file of 16 bits would have done);
- level counts, as it did for its raters;
- one clip goes through the models once, whichever of the four are asked for;
- the models' SHA-256 is part of the backend's version, and so of the key of every value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.identity import file_sha256
from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition, PoolBackend, Scope
from rdbench.metrics.packages import distribution_version, finite, missing, without_signal
from rdbench.metrics.remembered import remembered
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EXTRA = "mos"
RATE = 16000
SHORTEST = 0.5  # seconds
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


class DnsMos(PoolBackend):
    """The package `speechmos`; `key` is one of its four scores."""

    name = "reference"
    tolerance = 1e-4

    def __init__(self, key: str) -> None:
        self.key = key

    @cached_property
    def version(self) -> str:
        """Of the packages and the models; raises MissingExtraError where one is not installed."""
        packages = [f"{one} {distribution_version(one, self.key, EXTRA)}"
                    for one in ("speechmos", "onnxruntime")]  # fmt: skip
        hashes = " ".join(file_sha256(path) for path in _models(self.key))
        return f"{', '.join(packages)}, models sha256 {hashes}"

    def warm_up(self) -> None:
        """Loads the models."""
        _network()

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """The score of one channel (time,) at 16 kHz."""
        import numpy as np

        if sample_rate != RATE:
            raise ValueError(f"defined at {RATE} Hz, not {sample_rate} Hz")
        if not np.isfinite(reconstruction).all():
            return Score.failed("the reconstruction holds samples that are not finite")
        silent = without_signal(reference=reconstruction, reconstruction=reconstruction)
        if silent is not None:
            return Score.undefined("the reconstruction is silent")
        if len(reconstruction) < SHORTEST * RATE:
            seconds = len(reconstruction) / RATE
            return Score.undefined(f"{seconds:.3f} s is shorter than the {SHORTEST:g} s needed")
        heard = np.clip(reconstruction, -1, 1).astype(np.float32)
        return finite(_opinions(heard)[f"{self.key.removeprefix('dnsmos_')}_mos"], self.key)


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
    import onnxruntime
    from speechmos.dnsmos import DNSMOS

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for path in _models("dnsmos_ovrl")
    ]
    network = DNSMOS.__new__(DNSMOS)
    network.onnx_sess, network.p808_onnx_sess = sessions
    return network


def _models(key: str) -> tuple[Path, Path]:
    """The files of P.835 and of P.808."""
    from importlib.util import find_spec

    package = find_spec("speechmos")
    if package is None or package.origin is None:
        raise missing("speechmos", key, EXTRA)
    folder = Path(package.origin).parent / "dnsmos_models"
    return folder / "sig_bak_ovr.onnx", folder / "model_v8.onnx"
