"""From the similarity of bands to MOS-LQO.

Audio mode maps the mean similarity x of each of the 32 bands by support vector regression with a
radial kernel, Σ_i a_i exp(−γ ‖x − x_i‖²) − ρ, cut to 1…5; vectors, γ and ρ come from the model
file of visqol-python (libsvm's text format).

Speech mode maps four features of each of 21 bands (the mean similarity, the mean over the worst
tenth of the patches, the pooled standard deviation over frames, and the reconstruction's level)
and a quantile τ = 0.5 by a deep lattice network, run from the package's TFLite file. The named
alternative is the exponential fit of ViSQOL v2 to the mean similarity s,
1.245063 (−262.847869 + exp(0.0154302525 (s + 361.063949))), cut to 1…5, which lies one to two
points higher.

In every mode a mean similarity under 0.15 maps to 1.

Sources: Chinen et al. 2020; constants as in visqol-python 3.8.0.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rdbench.metrics.packages import missing
from rdbench.native import stderr_held

Array = npt.NDArray[np.float64]

DISSIMILAR = 0.15
SVR_FILE = "libsvm_nu_svr_model.txt"
LATTICE_FILE = (
    "lattice_tcditugenmeetpackhref_ls2_nl60_lr12_bs2048_learn.005_ep2400_train1_7_raw.tflite"
)
TAU = 0.5
FIT_OFFSET, FIT_SLOPE, FIT_CENTRE, FIT_SCALE = -262.847869, 0.0154302525, -361.063949, 1.245063


@dataclass(frozen=True)
class Features:
    """Per band, (bands,): similarity, its worst tenth of patches, its spread, the level."""

    mean: Array
    worst: Array
    spread: Array
    level: Array


class Mapping(Protocol):
    """Maps features to MOS-LQO."""

    def __call__(self, features: Features) -> float:
        """MOS-LQO of one clip."""
        ...


def predict(mapping: Mapping, features: Features) -> float:
    """MOS-LQO, with 1 for signals that have nothing in common."""
    return 1.0 if features.mean.mean() < DISSIMILAR else mapping(features)


class SupportVectors:
    """Regression by support vectors with a radial kernel; vectors (vectors, bands)."""

    def __init__(self, vectors: Array, weights: Array, gamma: float, rho: float) -> None:
        self.vectors, self.weights, self.gamma, self.rho = vectors, weights, gamma, rho

    @classmethod
    def load(cls, path: Path) -> SupportVectors:
        """Reads libsvm's text format; raises ValueError where the kernel is not radial."""
        header, _, body = path.read_text(encoding="ascii").partition("SV\n")
        fields = dict(line.split(maxsplit=1) for line in header.splitlines())
        if fields.get("kernel_type") != "rbf":
            raise ValueError(f"{path.name}: kernel_type {fields.get('kernel_type')} is not rbf")
        entries = [line.split() for line in body.splitlines() if line]
        pairs = [dict(item.split(":") for item in entry[1:]) for entry in entries]
        width = max(int(index) for pair in pairs for index in pair)
        vectors = np.zeros((len(entries), width))
        for row, pair in enumerate(pairs):
            for index, value in pair.items():
                vectors[row, int(index) - 1] = float(value)
        weights = np.array([float(entry[0]) for entry in entries])
        return cls(vectors, weights, float(fields["gamma"]), float(fields["rho"]))

    def __call__(self, features: Features) -> float:
        """MOS-LQO from the mean similarities."""
        distance = np.square(self.vectors - features.mean).sum(axis=1)
        value = float(self.weights @ np.exp(-self.gamma * distance)) - self.rho
        return float(np.clip(value, 1.0, 5.0))


class Lattice:
    """The deep lattice network, run by TFLite in one thread."""

    def __init__(self, path: Path, key: str) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise missing("visqol-python[lattice]", key) from error
        with stderr_held():
            self._interpreter: Any = Interpreter(model_content=path.read_bytes(), num_threads=1)
            self._interpreter.allocate_tensors()
        self._run = self._interpreter.get_signature_runner("predict")

    def __call__(self, features: Features) -> float:
        """MOS-LQO from all features."""
        named = {
            "fvnsim": features.mean,
            "fvnsim10_": features.worst,
            "fstdnsim": features.spread,
            "fvdegenergy": features.level,
        }
        inputs = {
            f"{name}{band}": values[band : band + 1].astype(np.float32)
            for name, values in named.items()
            for band in range(len(values))
        }
        output = self._run(tau=np.array([TAU], dtype=np.float32), **inputs)
        return float(output["predictions"].ravel()[0])


class Exponential:
    """The exponential fit of ViSQOL v2, scaled to reach 5."""

    def __call__(self, features: Features) -> float:
        """MOS-LQO from the mean similarity."""
        similarity = float(features.mean.mean())
        value = FIT_OFFSET + float(np.exp(FIT_SLOPE * (similarity - FIT_CENTRE)))
        return float(np.clip(value * FIT_SCALE, 1.0, 5.0))


def model_file(name: str, key: str) -> Path:
    """A model of visqol-python, which is not imported; raises MissingExtraError."""
    spec = importlib.util.find_spec("visqol")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "model" / name
        if path.is_file():
            return path
    raise missing("visqol-python", key)
