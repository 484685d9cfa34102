"""Metrics by the package `speechmos`, which has its ONNX models: what is given to them, and how.

Each channel at 16 kHz, with samples beyond full scale cut to it (which the package refuses, and a
file of 16 bits would have done), goes through onnxruntime on one thread of the CPU. The models'
SHA-256 is part of the backend's version, and so of the key of every value.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.identity import file_sha256
from rdbench.metrics.base import PoolBackend
from rdbench.metrics.packages import distribution_version, finite, missing
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EXTRA = "mos"
RATE = 16000
SHORTEST = 0.5  # seconds


class SpeechMos(PoolBackend):
    """An opinion of one channel by models of the package; `key` is that of the metric.

    models: their files in the package. longest: the seconds that they are given at most.
    """

    name = "reference"
    tolerance = 1e-4
    models: tuple[str, ...]
    longest = math.inf

    def __init__(self, key: str) -> None:
        self.key = key

    @cached_property
    def version(self) -> str:
        """Of the packages and the models; raises MissingExtraError where one is not installed."""
        packages = [f"{one} {distribution_version(one, self.key, EXTRA)}"
                    for one in ("speechmos", "onnxruntime")]  # fmt: skip
        hashes = " ".join(file_sha256(model_file(name, self.key)) for name in self.models)
        return f"{', '.join(packages)}, models sha256 {hashes}"

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """The score of one channel (time,) at 16 kHz."""
        import numpy as np

        if sample_rate != RATE:
            raise ValueError(f"defined at {RATE} Hz, not {sample_rate} Hz")
        if not np.isfinite(reconstruction).all():
            return Score.failed("the reconstruction holds samples that are not finite")
        if reconstruction.size == 0 or reconstruction.min() == reconstruction.max():
            return Score.undefined("the reconstruction is silent")
        seconds = len(reconstruction) / RATE
        if seconds < SHORTEST:
            return Score.undefined(f"{seconds:.3f} s is shorter than the {SHORTEST:g} s needed")
        if seconds > self.longest:
            return Score.undefined(
                f"{seconds:.0f} s, and {self.key} is given {self.longest:g} s or less; shorten the "
                "excerpts"
            )
        return finite(self.opinion(np.clip(reconstruction, -1, 1).astype(np.float32)), self.key)

    @abstractmethod
    def opinion(self, samples: npt.NDArray[np.float32]) -> float:
        """The opinion of a channel (time,) within full scale."""


def model_file(name: str, key: str) -> Path:
    """A file of the package, by its path there; raises MissingExtraError for the metric `key`."""
    from importlib.util import find_spec

    package = find_spec("speechmos")
    if package is None or package.origin is None:
        raise missing("speechmos", key, EXTRA)
    return Path(package.origin).parent / name


def session(name: str, key: str) -> Any:
    """A model of the package on one thread, without the memory that onnxruntime keeps for later."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(
        str(model_file(name, key)), options, providers=["CPUExecutionProvider"]
    )
