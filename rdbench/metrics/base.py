"""What a metric is: a definition, and one or more backends that compute it.

A definition says what the number means and never changes without a new `version`. A backend is a
way to compute it (a reference package in the CPU pool, a tensor program on the device). `prepare`
is called once for a batch of references, `score` once per system on their reconstructions, at the
same rate, lengths and channels, so that work on the reference is shared.

Two kinds of backend: a `DeviceBackend` sees whole batches as tensors and averages over channels
itself; a `PoolBackend` sees one channel of one clip as a NumPy array in a worker process, which
need not import torch, and the engine averages over channels. Both receive audio that the engine
has already brought to the definition's `sample_rate`, reference and reconstruction alike, with
the protocol's one resampler. The engine also answers `undefined` for clips shorter than
`minimum_seconds` and for non-finite reconstructions (`failed`) before any backend sees them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rdbench.types import AudioBatch, Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class MetricDefinition:
    """What a metric key means.

    key: names the variant ("pesq_wb", "mel_dac_44k"). version: raised when values change.
    unit: "" for pure scores, else "dB", "MOS-LQO", …
    lower, upper: bounds of the value (infinite where there is none).
    identity: the value when the reconstruction is the reference (the metric's ceiling, or 0); NaN
        where it depends on the clip.
    domains: domains on which it is valid; empty means every domain.
    sample_rate: the rate at which it is defined; None: the protocol's.
    minimum_seconds: shorter clips score `undefined`.
    needs_alignment: whether a delay of a few samples ruins it.
    joint_channels: whether it is defined on all channels at once.
    definition: one sentence with the source.
    """

    key: str
    version: int
    name: str
    unit: str
    direction: Direction
    lower: float
    upper: float
    identity: float
    domains: tuple[str, ...]
    sample_rate: int | None
    minimum_seconds: float
    needs_alignment: bool
    joint_channels: bool
    definition: str
    citation: str = ""


class DeviceBackend(ABC):
    """Computes a metric over batches of tensors, on any torch device.

    name: "torch", … tolerance: largest deviation from the definition's reference values, absolute.
    """

    name: str
    tolerance: float

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the program or package; a plain attribute will do."""

    @abstractmethod
    def prepare(self, reference: AudioBatch) -> Any:
        """Work on the references that every reconstruction shares."""

    @abstractmethod
    def score(self, prepared: Any, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip, channels already averaged (or joint)."""


class PoolBackend(ABC):
    """Computes a metric on one mono clip, in a worker process."""

    name: str
    tolerance: float

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the program or package; a plain attribute will do."""

    def warm_up(self) -> None:
        """Called once in a new worker, so that compilation is not charged to a clip."""

    def prepare(self, reference: npt.NDArray[np.float32], sample_rate: int) -> Any:
        """Work on one reference channel (time,) that every reconstruction shares."""
        return reference

    @abstractmethod
    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """The score of one reconstruction channel (time,), both at `sample_rate` hertz."""


BackendFactory = Callable[[], DeviceBackend | PoolBackend]
"""Builds a backend, and imports what it computes with only then: a pool worker that scores with a
reference package must not import torch."""
