"""What a metric is: a definition, and one or more backends that compute it.

A definition says what the number means and never changes without a new `version`. A backend is a
way to compute it (a reference package in the CPU pool, a tensor program on the device), and of one
of three kinds:

- a `DeviceBackend` sees whole batches as tensors and, where a definition says that channels are
  averaged, scores each of them and averages itself;
- a `PoolBackend` sees one channel of one clip as a NumPy array in a worker process, which need not
  import torch, and the engine averages over channels (one that is defined on all channels sees all
  of them at once);
- a `SetBackend` turns each clip of a batch into features, and the features of a whole set of clips
  into one value (`Scope.SET`).

The first two score clips. With a reference (`Scope.CLIP`), `prepare` is called once for it and
`score` once per system on its reconstruction, at the same rate, lengths and channels, so that work
on the reference is shared. Without (`Scope.CLIP_ALONE`), `prepare` is never called, and `score`
gets None for what it would have made; references are scored like any reconstruction.

All receive audio that the engine has already brought to the definition's `sample_rate`, with the
protocol's one resampler, and to one channel where its `channels` say downmix, reference and
reconstruction alike. The engine also answers `undefined` for
clips shorter than `minimum_seconds` and for non-finite reconstructions (`failed`) before any
backend sees them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rdbench.types import AudioBatch, RunsOn, Score, SpecError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

MODEL_FILE = "weights"
"""The option that names a metric's model: a file, a folder, or ID@REVISION of the Hugging Face hub
(`rdbench.weights.model_files`). Its hash is part of the key of every unit."""
REFERENCE_FILE = "reference"
"""The option of a metric of sets that names saved statistics in the place of the references
(`rdbench.metrics.sets.saved`). Their hash is part of the backend's version."""


def without_model(key: str, source: str) -> SpecError:
    """The sentence for a metric without its model; source: what is wanted, and from where."""
    return SpecError(
        f"metric {key!r} needs the option {MODEL_FILE}: {source}; give it in the spec "
        f"(`{{key: {key}, options: {{{MODEL_FILE}: …}}}}`) or by `--option {key}.{MODEL_FILE}=…`; "
        "nothing is fetched unasked"
    )


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


class Scope(StrEnum):
    """What has one value: a clip against its reference, a clip alone, or a set of clips."""

    CLIP = "clip"
    CLIP_ALONE = "clip_alone"
    SET = "set"


class ChannelRule(StrEnum):
    """How a clip of several channels gets one score (`rdbench.metrics.channels` applies it).

    averaged: the mean of the channels' scores. downmix: the score of the channels' mean. joint:
    the metric is defined on all channels at once.
    """

    AVERAGED = "averaged"
    DOWNMIX = "downmix"
    JOINT = "joint"


class Alignment(Enum):
    """What a metric sees of a reconstruction that has come too late or too early.

    NONE: it, as decoded. MOVED: it without its delay, at full length. EXACT: the same, and on both
    sides only the samples that are known after the move.
    """

    NONE = auto()
    MOVED = auto()
    EXACT = auto()


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
    minimum_seconds: shorter clips score `undefined` (of a set: are left out of it).
    needs_alignment: whether a fraction of a sample changes it. It is scored without the residual
        delay then, on the samples that both sides have.
    joint_channels: whether it is defined on all channels at once.
    definition: one sentence with the source.
    channels: how a clip of several channels gets one score.
    scope: what has one value.
    options: what a spec may set, by name; `MODEL_FILE` among them means that it takes a model file.
    minimum_clips: a smaller set is `undefined`.
    as_decoded: whether the residual delay is left in, even where a protocol removes it from all.
    needs_model: whether it cannot be computed without the option `MODEL_FILE`.
    reads_text: whether a clip is held against its text (the manifest's column `text`) in place of
        its reference: the device backend's `prepare` then gets `texts`, one for each clip, a Score
        with the reason where there is none.
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
    definition: str
    citation: str = ""
    channels: ChannelRule = ChannelRule.AVERAGED
    scope: Scope = Scope.CLIP
    options: tuple[str, ...] = ()
    minimum_clips: int = 1
    as_decoded: bool = False
    needs_model: bool = False
    reads_text: bool = False

    def alignment(self, *, everywhere: bool) -> Alignment:
        """What it sees; everywhere: whether the protocol removes the residual delay from all."""
        if self.needs_alignment and self.scope is Scope.CLIP:
            return Alignment.EXACT
        return Alignment.MOVED if everywhere and not self.as_decoded else Alignment.NONE


class Backend(ABC):
    """What all backends say of themselves.

    name: "torch", "reference", … tolerance: largest deviation from the definition's reference
    values, absolute. runs_on: on the device of the run, or in worker processes on the CPU.

    Filled in by the registry, for keys and cards: options, as the spec sets them; model_sha256, of
    the model file among them ("" where there is none); source, hashes of the code of a metric that
    is not rdbench's own (empty for those that are); files, those that were hashed for either.
    """

    name: str
    tolerance: float
    runs_on: RunsOn
    options: Mapping[str, Any] = MappingProxyType({})
    model_sha256: str = ""
    source: tuple[str, ...] = ()
    files: Mapping[Path, str] = MappingProxyType({})

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the program or package; a plain attribute will do."""


class DeviceBackend(Backend):
    """Computes a metric over batches of tensors, on any torch device."""

    runs_on = RunsOn.DEVICE

    def prepare(self, reference: AudioBatch) -> Any:
        """Work on the references that every reconstruction shares; not called without them."""
        return reference

    @abstractmethod
    def score(self, prepared: Any, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip, whatever the channels."""


class PoolBackend(Backend):
    """Computes a metric on one signal, in a worker process.

    A signal is one channel (time,), or all of a clip's (channels, time) where they are joint.
    """

    runs_on = RunsOn.POOL

    def warm_up(self) -> None:
        """Called once in a new worker, so that compilation is not charged to a clip."""

    def prepare(self, reference: npt.NDArray[np.float32], sample_rate: int) -> Any:
        """Work on one signal of a reference that every reconstruction shares."""
        return reference

    @abstractmethod
    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """The score of one signal of a reconstruction, both at `sample_rate` hertz."""


Distance = Callable[["npt.NDArray[np.float64]"], "npt.NDArray[np.float64]"]
"""The value of a set as a function of how often each of its groups counts: weights float64
(resamples, groups) to values (resamples,), NaN where there is none."""


class SetBackend(Backend):
    """Computes a metric on the clips of one domain together.

    Clips come in groups (the clips of one speaker, say), and the value is wanted for many
    weightings of them: once with every group, and again for each resample of an interval. So a
    group is summarized once, and `distance` does what all weightings share before the first.
    """

    runs_on = RunsOn.DEVICE

    @property
    def shared_features(self) -> tuple[str, str] | None:
        """What features are called that metrics of other keys share, and what they depend on.

        The second is a text of all that changes them beside the audio: code, options, weights. One
        such feature is made of a clip, and kept, whichever of those metrics are asked for. None:
        they are of this metric alone, and depend on all that its value does.
        """
        return None

    def check_rate(self, sample_rate: int) -> None:
        """Raises SpecError where it cannot compare audio that comes at so many hertz."""

    @abstractmethod
    def feature(self, audio: AudioBatch) -> list[npt.NDArray[np.float32]]:
        """What each clip adds to a set, (windows, dimensions), its channels dealt with.

        References and reconstructions go through it alike: on the device where `runs_on` says so,
        else in a worker process, one clip at a time.
        """

    def summary(self, features: Sequence[npt.NDArray[np.float32]]) -> Any:
        """All that the value needs of one group, from the features of its clips.

        By default all of their windows as one array.
        """
        import numpy as np

        return np.concatenate(features)

    @abstractmethod
    def distance(self, *, reference: Sequence[Any], reconstruction: Sequence[Any]) -> Distance:
        """The value under any weighting of the groups, given by their summaries in one order."""


BackendFactory = Callable[..., Backend]
"""Builds a backend from the options of its definition that are set, by keyword, and imports what it
computes with only then: a pool worker that scores with a reference package must not import
torch."""
