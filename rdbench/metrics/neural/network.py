"""Metrics that are read off the outputs of a trained model whose weights the user names.

A `Network` is such a model: how it is loaded from its files, and what it makes of signals. A
`ModelMetric` is one score of its outputs. What all of them have in common is here:

- each channel is a signal at the network's rate; channels' scores are averaged;
- signals of exactly equal length go through the network together, so that nothing is padded and no
  score depends on the other clips of a batch; a clip that is longer than the network hears is
  undefined, and so is silence, which never reaches it;
- a network is loaded once on a device, and all scores that are read off it share one pass over
  each batch;
- it is in evaluation mode, float32, and reads its files as data.
"""

from __future__ import annotations

import json
import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import BackendFactory, DeviceBackend, without_model
from rdbench.metrics.channels import average_channels
from rdbench.metrics.equal_lengths import finite
from rdbench.metrics.packages import distribution_version
from rdbench.metrics.ragged import cut, equal_lengths
from rdbench.types import AudioBatch, Score, Status, WeightsError
from rdbench.weights.model_files import ModelFiles, find_model

if TYPE_CHECKING:
    import torch

Outputs = list[list[Any]]
"""By clip and channel, what a network made of a signal; a Score where it made nothing."""

_REMEMBERED = 4  # batches: references and reconstructions, aligned or as decoded


class Network(ABC):
    """A trained model on one device.

    keys: of the scores that are read off it. rate: of signals, hertz. at_once: samples that go
    through it together, where clips allow it. version: of how the model is used; raised when
    values change. extra, packages: where its packages come from, and whose versions count. source:
    what the option `weights` wants, and where that is published. of_folder: whether that is a
    folder.
    """

    keys: ClassVar[tuple[str, ...]]
    rate: ClassVar[int] = 16000
    at_once: ClassVar[int] = 60 * 16000
    version: ClassVar[str] = "1"
    extra: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    source: ClassVar[str]
    of_folder: ClassVar[bool] = False

    def __init__(self, files: ModelFiles, device: str) -> None:
        """Loads it; options of its own come by keyword. Raises WeightsError."""
        self.files = files
        self.device = device

    @classmethod
    def named(cls) -> str:
        """As sentences call it."""
        return f"metric {cls.keys[0]!r}"

    @classmethod
    def check(cls, key: str, files: ModelFiles, **options: Any) -> None:
        """Raises WeightsError or SpecError for what can be told without loading it."""
        if (len(files.files) > 1) is not cls.of_folder:
            given, wanted = ("file", "folder") if cls.of_folder else ("folder", "file")
            raise WeightsError(
                f"metric {key!r}: {files.path} is a {given} and no {wanted}; give {cls.source}"
            )

    @property
    def longest(self) -> float:
        """Seconds that it hears at most: attention takes memory with their square."""
        return 60.0

    @abstractmethod
    def hear(self, signals: torch.Tensor) -> Sequence[Any]:
        """What it makes of each of float32 (signals, time), on its device."""


class ScoringNetwork(Network):
    """One whose outputs are scores, or are compared; of others the features alone are used."""

    @abstractmethod
    def read(self, key: str, reference: Any, output: Any) -> float | Score:
        """The score of one signal: from both outputs, from a text and one, or from one alone."""


@dataclass(frozen=True)
class _Prepared:
    """References as they were heard, or their texts; lengths tell whether others match."""

    lengths: list[int]
    outputs: Outputs


class ModelMetric(DeviceBackend):
    """The score `key` of a network. options: the network's own, beside its weights."""

    name = "torch"
    tolerance = 1e-4

    def __init__(
        self, key: str, network: type[ScoringNetwork], weights: str | None = None, **options: Any
    ) -> None:
        if weights is None:
            raise without_model(key, network.source)
        self.key = key
        self._kind = network
        self._weights = weights
        self._own = options
        network.check(key, find_model(weights, named=f"metric {key!r}"), **options)

    @cached_property
    def version(self) -> str:
        """Of the packages and of how they are used; MissingExtraError where one is absent."""
        packages = [
            f"{one} {distribution_version(one, self.key, self._kind.extra)}"
            for one in self._kind.packages
        ]
        return ", ".join([*packages, f"adapter {self._kind.version}"])

    def prepare(
        self, reference: AudioBatch, texts: Sequence[str | Score] | None = None
    ) -> _Prepared:
        """References as the network hears them; their texts where these are held against."""
        lengths = reference.lengths.tolist()
        if texts is None:
            return _Prepared(lengths, self._listener(reference).outputs(reference))
        return _Prepared(lengths, [[text] * reference.channels for text in texts])

    def score(self, prepared: _Prepared | None, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip, the mean of its channels."""
        if prepared is not None and prepared.lengths != reconstruction.lengths.tolist():
            raise ValueError("reference and reconstruction differ in their lengths")
        listener = self._listener(reconstruction)
        heard = listener.outputs(reconstruction)
        references = prepared.outputs if prepared else [[None] * len(clip) for clip in heard]
        return [
            average_channels(
                [
                    self._score(listener.network, theirs, ours)
                    for theirs, ours in zip(reference, clip, strict=True)
                ]
            )
            for reference, clip in zip(references, heard, strict=True)
        ]

    def _score(self, network: ScoringNetwork, reference: Any, output: Any) -> Score:
        for whose, one in (("reference", reference), ("reconstruction", output)):
            if isinstance(one, Score):
                said = one.reason.replace("{whose}", whose)
                return Score(one.value, one.status, said)
        found = network.read(self.key, reference, output)
        return found if isinstance(found, Score) else finite(found)

    def _listener(self, audio: AudioBatch) -> _Listener:
        if audio.sample_rate != self._kind.rate:
            raise ValueError(f"defined at {self._kind.rate} Hz, not {audio.sample_rate} Hz")
        device = str(audio.samples.device)
        own = json.dumps(self._own, sort_keys=True, default=str)
        return _listener(self._kind, self._weights, self.model_sha256, own, device)


def model_backends(key: str, networks: Sequence[type[ScoringNetwork]]) -> dict[str, BackendFactory]:
    """What `backends` of a family answers: the one of its networks that `key` is read off."""
    network = next(one for one in networks if key in one.keys)
    return {"torch": partial(ModelMetric, key, network)}


class _Listener:
    """A network, and what it made of the last batches."""

    def __init__(self, network: ScoringNetwork) -> None:
        self.network = network
        self._last: list[tuple[weakref.ref[torch.Tensor], list[int], Outputs]] = []

    def outputs(self, audio: AudioBatch) -> Outputs:
        """Of every clip and channel; those of the same tensor are made once."""
        lengths = audio.lengths.tolist()
        for samples, known, made in self._last:
            if samples() is audio.samples and known == lengths:
                return made
        made = self._made(audio)
        self._last = [(weakref.ref(audio.samples), lengths, made), *self._last][:_REMEMBERED]
        return made

    def _made(self, audio: AudioBatch) -> Outputs:
        found: Outputs = [[None] * audio.channels for _ in range(audio.clips)]
        for length, indices in equal_lengths(audio, limit=self.network.at_once):
            signals = cut(audio, indices, length).reshape(-1, length)
            places = [(index, channel) for index in indices for channel in range(audio.channels)]
            unheard = self._unheard(signals)
            for (index, channel), score in zip(places, unheard, strict=True):
                found[index][channel] = score
            rows = [row for row, score in enumerate(unheard) if score is None]
            if rows:
                for row, output in zip(rows, self._hear(signals[rows]), strict=True):
                    index, channel = places[row]
                    found[index][channel] = output
        return found

    def _hear(self, signals: torch.Tensor) -> Sequence[Any]:
        import torch

        with torch.inference_mode():
            return self.network.hear(signals)

    def _unheard(self, signals: torch.Tensor) -> list[Score | None]:
        """Why the network hears nothing of each signal (signals, time), None where it does."""
        seconds = signals.shape[-1] / self.network.rate
        if seconds > self.network.longest:
            said = f"{seconds:g} s, and the model hears {self.network.longest:g} s or less"
            return [Score.undefined(f"{said}; shorten the excerpts")] * len(signals)
        if not signals.shape[-1]:
            said = "there are no samples"
            return [Score.undefined(said)] * len(signals)
        fine = signals.isfinite().all(-1).tolist()
        silent = (signals.amax(-1) == signals.amin(-1)).tolist()
        bad = Score(math.nan, Status.FAILED, "the {whose} holds samples that are not finite")
        return [
            bad if not good else Score.undefined("the {whose} is silent") if still else None
            for good, still in zip(fine, silent, strict=True)
        ]


@cache
def _listener(
    kind: type[ScoringNetwork], weights: str, _sha256: str, options: str, device: str
) -> _Listener:
    """One for each network on each device, whatever keys are read off it."""
    files = find_model(weights, named=kind.named())
    return _Listener(kind(files, device, **json.loads(options)))
